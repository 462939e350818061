"""SliceStack -> the five maps and the sample-wise scores (Zimmerer et al. 2019, section 2).

    Rec-Error_i = (x_i - g_i(mu))^2 / (2 c^2)
    KL-Grad_i   = |dKL/dx_i|      Rec-Grad_i = |dRec/dx_i|      ELBO-Grad_i = |d(KL + Rec)/dx_i|
    Combi_i     = KL-Grad_i * Rec-Error_i

One forward pass and at most two backward passes with respect to the input give all of them:
the gradient is linear, so ELBO-Grad is the magnitude of the sum of the other two. What the
network gives is kept with its sign (`SliceScores.fields`); the maps are made of it. On the CPU the
model's own graph is run by onnxruntime, elsewhere `vae` by torch, which is imported only then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableModel
from vae_loc.model.network import Model
from vae_loc.preprocessing.slices import SliceStack
from vae_loc.vocabulary import FloatArray, Method

BATCH_SIZE = 64  # slices at a time: a whole brain at 3 mm; 64 MB of activations
NEEDS_REC_GRADIENT = frozenset({"rec-grad", "elbo-grad"})

Field = Literal["residual", "kl-gradient", "rec-gradient"]
FIELDS: tuple[Field, ...] = ("residual", "kl-gradient", "rec-gradient")


@dataclass(frozen=True)
class SliceScores:
    """Scores of a stack of S slices.

    Attributes
    ----------
    fields : float32 (S, H, W) with sign: residual x - g(mu), above 0 where the slice is brighter than
        expected; kl-gradient dKL/dx; rec-gradient dRec/dx where a method asked for needs it
    c : standard deviation of p(x|z)
    kl, rec : float64 (S,), in nats; rec without the constant of the Gaussian
    """

    fields: dict[Field, FloatArray]
    c: float
    kl: NDArray[np.float64]
    rec: NDArray[np.float64]

    def map(self, method: Method) -> FloatArray:
        """Return one of the paper's maps, float32 (S, H, W) >= 0; units as in the module's equations."""
        of = self.fields
        scores: FloatArray
        if method == "rec-error":
            scores = (np.square(of["residual"]) / (2 * self.c * self.c)).astype(np.float32)
        elif method == "kl-grad":
            scores = np.abs(of["kl-gradient"])
        elif method == "rec-grad":
            scores = np.abs(of["rec-gradient"])
        elif method == "elbo-grad":
            scores = np.abs(of["kl-gradient"] + of["rec-gradient"])
        else:
            scores = self.map("kl-grad") * self.map("rec-error")
        return scores


def score_slices(model: Model, stack: SliceStack, methods: Sequence[Method]) -> SliceScores:
    """Score every slice of a stack, each on its own: neighbours in a batch have no influence.

    Does not smooth, and does not blank the background.

    Raises
    ------
    UnusableModel : if the network gives NaN or infinity.
    """
    c = model.facts.network.c
    run = model.score_terms("all" if NEEDS_REC_GRADIENT.intersection(methods) else "kl")
    starts = range(0, len(stack.pixels), BATCH_SIZE)
    parts = [run(stack.pixels[start : start + BATCH_SIZE, None], c) for start in starts]
    terms = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if odd := next((name for name, values in terms.items() if not np.isfinite(values).all()), None):
        raise UnusableModel(model.digest[:12], f"its {odd} is not finite for this scan; train or fetch it again")
    fields = {name: terms[name][:, 0] for name in FIELDS if name in terms}
    return SliceScores(fields, c, terms["kl"].astype(np.float64), terms["rec"].astype(np.float64))
