"""The outline of a brain mask: its overlap with the mean brain's, and the faces at which it is cut straight.

All thresholds of outlines are here, as Dice with the mean brain (0 to 1). The values of scans at hand are in
docs/measured/scan-gate.md.
"""

from __future__ import annotations

import numpy as np

from vae_loc.preprocessing.pose import BRAIN_OFFSET
from vae_loc.preprocessing.regions import bounding_box
from vae_loc.vocabulary import BoolArray, FloatArray

TURNED_OUTLINE = 0.92  # below it other poses are tried: whole brains have .92 and more
ALIGNED_OUTLINE = 0.88  # from which on a brain is well aligned: .91 and more where it is right, .77 with a part missing
POOR_OUTLINE = 0.72  # below it the detail must be that of a brain: fruit .70
MATCHED_OUTLINE = 0.65  # below it nothing was matched, and the brain keeps its own pose
NO_OUTLINE = 0.55  # below it a mask is no brain: those with a part missing .66
MAX_OUTLINE_LOSS = 0.06  # of the aligned brain turned as it is; more, and aligning it anew does not make up for it
MIN_OUTLINE_GAIN = 0.03  # of another pose, to be the right one
CUT_FACE = 0.35  # of a face of the mask's box: a mask that covers more goes on beyond it
Faces = BoolArray  # (3, 2), the low and the high face of each axis


def outline_dice(mask: BoolArray, template: FloatArray) -> float:
    """Return the Dice of a brain's mask and that of the mean brain, (N, N, N) each, 0 to 1."""
    brain = template > BRAIN_OFFSET
    either = int(np.count_nonzero(mask)) + int(np.count_nonzero(brain))
    return 2 * int(np.count_nonzero(mask & brain)) / max(1, either)


def cut_faces(mask: BoolArray) -> Faces:
    """Return at which faces of its box a mask (I, J, K) is cut straight, bool (3, 2).

    >>> int(cut_faces(np.ones((3, 3, 3), dtype=bool)).sum())
    6
    """
    inside = mask[bounding_box(mask)]
    return np.array([[np.take(inside, end, axis).mean() > CUT_FACE for end in (0, -1)] for axis in range(3)])
