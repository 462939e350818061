"""The names that several packages share: array types, the five maps, the signs of anomalies, ways to find a brain."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
BoolArray = NDArray[np.bool_]
Pixels = NDArray[np.uint8]

Method = Literal["rec-error", "kl-grad", "rec-grad", "elbo-grad", "combi", "place-z", "learned"]
METHODS: tuple[Method, ...] = ("rec-error", "kl-grad", "rec-grad", "elbo-grad", "combi")  # the five maps of the paper
PLACE_Z: Method = "place-z"  # needs no network: the intensity, set against healthy brains at the same place
LEARNED: Method = "learned"  # by a judge of made lesions, which not every model has
MAPS = (*METHODS, PLACE_Z, LEARNED)
EVALUATED = (*METHODS, LEARNED)
SAMPLE_SCORES = ("rec", "kl", "elbo")  # one number for a slice or a scan, in nats
Polarity = Literal["any", "bright", "dark"]  # brighter or darker than the model expects
BrainMask = Path | Literal["auto", "none"]  # a mask file, or how to find the brain
MNI = "MNI152NLin2009aSym"  # the template that nilearn ships
RESEARCH_ONLY = "research only; not a medical device"
