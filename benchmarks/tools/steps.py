"""The picture of docs/explanation/method.md: one slice of a scan at each step on the way to its map and findings.

    python -m benchmarks.tools.steps

Writes docs/images/steps.jpg from sample_data/crtut_t2.nii.gz and the shipped model t2. The slice is that of the
strongest voxel. The patient's right is on the left.
"""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib as mpl
import numpy as np
from PIL import Image

from benchmarks.command import parser_of
from vae_loc.model.checkpoint import find_model
from vae_loc.model.network import load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.slices import from_slices, to_slices
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.findings import candidates_of, known_findings, strength_for
from vae_loc.scoring.locate import locate
from vae_loc.scoring.normalised_maps import at_place, features_of
from vae_loc.scoring.score_options import ScoreOptions, default_rate
from vae_loc.scoring.slice_scores import score_slices

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).resolve().parents[2]
SCAN = ROOT / "sample_data" / "crtut_t2.nii.gz"
PICTURE = ROOT / "docs" / "images" / "steps.jpg"


def main() -> None:
    """Draw the steps."""
    parser_of(__doc__).parse_args()
    scan = open_scan(find_cases([SCAN])[0])
    model = load_model(find_model("t2"))
    located = locate(scan, model, ScoreOptions(force=True))
    brain = located.canonical
    stack = to_slices(brain)
    scores = score_slices(model, stack, ["combi"])
    fields = {name: from_slices(values, stack, brain) for name, values in scores.fields.items()}
    features = features_of(fields, brain, curve=model.facts.training.synthesized_from is not None)
    reference = model.reference
    at = at_place(features["residual"], brain.mask, reference["residual.mean"], reference["residual.sd"])
    combi = located.signed_maps["combi"]
    known = known_findings(model.facts, "combi")
    level = strength_for(known, default_rate(known))
    labels, candidates = candidates_of(combi, known.extent, least=level)
    strong = [one.label for one in candidates if one.strength > level]
    found = np.isin(labels, strong)
    fine = int(np.unravel_index(np.abs(combi).argmax(), combi.shape)[2])
    coarse = fine * brain.mask.shape[2] // combi.shape[2]
    grey, signed = {"cmap": "gray", "vmin": -4, "vmax": 5}, {"cmap": "RdBu_r"}
    panels = [
        ("2, 3: on the canonical grid", brain.data[:, :, coarse], grey),
        ("4: expected by the network", (brain.data - fields["residual"])[:, :, coarse], grey),
        ("4: residual", (fields["residual"] * brain.mask)[:, :, coarse], signed | {"vmin": -4, "vmax": 4}),
        ("5, 6: smoothed, own field off", features["residual"][:, :, coarse], signed | {"vmin": -4, "vmax": 4}),
        ("7: against place and scan, z'", at[:, :, coarse], signed | {"vmin": -8, "vmax": 8}),
        ("9, 10: Combi with fine evidence", combi[:, :, fine], signed | {"vmin": -8, "vmax": 8}),
        ("candidates", ((labels > 0) * np.sign(combi))[:, :, fine], signed | {"vmin": -2, "vmax": 2}),
        ("findings", brain.halved.data[:, :, fine], grey),
    ]
    figure, axes = plt.subplots(2, 4, figsize=(12, 5.6), facecolor="white")
    for axis, (title, values, look) in zip(axes.flat, panels, strict=False):
        shown = axis.imshow(values.T, origin="lower", interpolation="nearest", **look)
        axis.invert_xaxis()  # the first axis runs from left to right
        axis.set_title(title, fontsize=10)
        figure.colorbar(shown, ax=axis, shrink=0.75)
    axes.flat[len(panels) - 1].contour(found[:, :, fine].T.astype(float), levels=[0.5], colors="orange", linewidths=1.5)
    for axis in axes.flat:
        axis.axis("off")
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    with Image.open(buffer) as picture:
        picture.convert("RGB").save(PICTURE, "JPEG", quality=85, optimize=True)


if __name__ == "__main__":
    main()
