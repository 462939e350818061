"""The result of one patient against the annotated lesion, for `findings`, `persons` and `unselected`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.page import yes
from benchmarks.trial import voxels_of
from vae_loc.evaluation.lesions import VoxelCounts, reaches_share
from vae_loc.evaluation.metrics import rank_sorted
from vae_loc.vocabulary import BoolArray, FloatArray


@dataclass(frozen=True)
class Judged:
    """A map and its findings against a lesion.

    Attributes
    ----------
    on : bool (N,), which findings are on the lesion
    annotated : int (N,), annotated voxels of each finding
    dice, oracle, ap : of the findings' voxels, at the map's best threshold, and average precision
    """

    on: BoolArray
    annotated: VoxelCounts
    dice: float
    oracle: float
    ap: float

    @property
    def found(self) -> bool:
        """Whether a finding is on the lesion."""
        return bool(self.on.any())

    @property
    def false(self) -> int:
        """How many findings are not."""
        return int(np.count_nonzero(~self.on))

    def cells(self) -> str:
        """Return the cells of a table."""
        return f"{yes(self.found)} / {self.false} / {self.dice:.2f} / {self.oracle:.2f} / {self.ap:.2f}"


def judged(heat: FloatArray, numbers: NDArray[np.number], truth: BoolArray, brain: BoolArray) -> Judged:
    """Return how a map and its numbered findings, (I, J, K), met a lesion in the brain; none, if nothing is annotated."""
    ranking = rank_sorted([np.sort(heat[brain & truth])], [np.sort(heat[brain & ~truth])])
    sizes, annotated = voxels_of(numbers, truth)
    return Judged(
        on=reaches_share(annotated, sizes),
        annotated=annotated,
        dice=2 * int(annotated.sum()) / max(1, int(sizes.sum()) + int(np.count_nonzero(truth))),
        oracle=ranking.best_dice or 0.0,
        ap=ranking.average_precision or 0.0,
    )
