"""The words that several packages share: array types, the five maps, signs of anomalies, ways to find a brain."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

BrainMask = Path | Literal["auto", "none"]  # a mask file, or how to find the brain


Method = Literal["rec-error", "kl-grad", "rec-grad", "elbo-grad", "combi"]


METHODS: tuple[Method, ...] = ("rec-error", "kl-grad", "rec-grad", "elbo-grad", "combi")


SAMPLE_SCORES = ("rec", "kl", "elbo")


Polarity = Literal["any", "bright", "dark"]


FloatArray = NDArray[np.float32]


BoolArray = NDArray[np.bool_]
