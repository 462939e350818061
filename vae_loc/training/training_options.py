"""The options of a training, and the numbers that follow where they are left open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

SHORT_STEPS = 850  # more make a better model of the cohort and no better detector (design [79])
SYNTHESIZED_STEPS = 1700  # of appearances that are made: not tried with fewer
PLATEAU_EPOCHS = 300  # at most
COARSE_NOISE_SD = 3.0  # in the brain's standard deviations


@dataclass(frozen=True)
class TrainingOptions:
    """The options of a training; those of a record are the numbers that were used.

    Attributes
    ----------
    contrast : the contrast that the model is for
    synthesize_from : the contrast of the scans themselves, where they are made to look like `contrast`
    latents : size of z
    c : standard deviation of p(x|z)
    image_size : pixels of a slice's side
    epochs : how many, or at most how many under `plateau`; None stands for the schedule's own number
    coarse_noise_sd : of `add_coarse_noise` at its strongest, in the brain's standard deviations; None stands for
        `COARSE_NOISE_SD` on real scans and 0 on synthesized ones, whose appearances vary enough
    """

    contrast: str = "t1"
    synthesize_from: str | None = None
    latents: int = 256
    c: float = 1.0
    image_size: int = 64
    epochs: int | None = None
    batch_size: int = 64
    seed: int = 0
    holdout: float = 0.2
    schedule: Literal["short", "plateau"] = "short"
    coarse_noise_sd: float | None = None

    @property
    def real_contrast(self) -> str:
        """The contrast of the scans themselves."""
        return self.synthesize_from or self.contrast

    @property
    def noise_sd(self) -> float:
        """The standard deviation of the coarse noise."""
        default = 0.0 if self.synthesize_from else COARSE_NOISE_SD
        return default if self.coarse_noise_sd is None else self.coarse_noise_sd

    def epochs_of(self, slices: int) -> int:
        """Return the number of epochs, of so many slices each, at most."""
        steps = SYNTHESIZED_STEPS if self.synthesize_from else SHORT_STEPS
        default = PLATEAU_EPOCHS if self.schedule == "plateau" else short_epochs(slices, self.batch_size, steps=steps)
        return self.epochs or default


def short_epochs(slices: int, batch_size: int, *, steps: int = SHORT_STEPS) -> int:
    """Return how many epochs make so many steps."""
    return max(1, round(steps * batch_size / max(1, slices)))
