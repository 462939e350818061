"""The picture of docs/explanation/method.md: 24 lesions as they are made for the judge of the learned map.

    python -m benchmarks.tools.lesions

Writes docs/images/made-lesions.jpg from the T1 scans of sample_data and the shipped model t1. Each panel is the slice
with most of a lesion, with its outline, and says of which kind it is. The patient's right is on the left.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from benchmarks.command import parser_of
from vae_loc.model.checkpoint import find_model
from vae_loc.model.network import load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.training.made_lesions import LESION_KINDS, made_lesion

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
PICTURE = ROOT / "docs" / "images" / "made-lesions.jpg"
ROWS, COLUMNS = 4, 6


def main() -> None:
    """Draw the lesions: a row of each kind."""
    parser_of(__doc__).parse_args()
    model, rng = load_model(find_model("t1")), np.random.default_rng(0)
    scans = sorted((ROOT / "sample_data").glob("*_t1.nii.gz"))
    brains = [canonical_of(open_scan(find_cases([scan])[0]), model) for scan in scans]
    figure, axes = plt.subplots(ROWS, COLUMNS, figsize=(12, 9.2), facecolor="white")
    for row, kind in zip(axes, LESION_KINDS, strict=True):
        for number, axis in enumerate(row):
            host = brains[number % len(brains)]
            sick, lesion = made_lesion(host, brains[(number + 1) % len(brains)], rng, {kind: 1.0})
            at = int(lesion.sum(axis=(0, 1)).argmax())
            axis.imshow(sick.halved.data[:, :, 2 * at].T, origin="lower", cmap="gray", vmin=-4, vmax=4)
            outline = lesion[:, :, at].repeat(2, axis=0).repeat(2, axis=1)
            axis.contour(outline.T.astype(float), levels=[0.5], colors="orange", linewidths=0.8)
            axis.set_title(f"{kind}, {0.027 * np.count_nonzero(lesion):.2g} ml", fontsize=10)
            axis.invert_xaxis()  # the first axis runs from left to right
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(PICTURE, dpi=90, pil_kwargs={"quality": 85, "optimize": True})


if __name__ == "__main__":
    main()
