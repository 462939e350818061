"""The shared scans and each shipped model: its warnings and refusals, and how unusual the scans are.

    python -m benchmarks.measured.scan_gate --shared ../shared/data -o docs/measured/scan-gate.md

- Outline: Dice of mask and mean brain after alignment, least and median.
- Spread: deviation of the typical voxel, as a multiple of that in the most unusual healthy scan (of 1 if that is less),
  median and largest.
- Tissue: number of scans whose tissues look like those of each contrast.
- Warned: scans with the warning that their tissues, or the whole brain, are unlike the model's.
- Refused: scans that are not scored without `--force`.

The last table has files that are no brain scans, and hard cases.
They are made of one scan of each folder and contrast, and of objects that are no heads (`benchmarks/measured/gate_nonsense.py`).
Everything ran on one thread.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks.cohorts import CONTRASTS, cases_in
from benchmarks.command import finish, parser_of
from benchmarks.measured.gate_nonsense import hard, nonsense, objects
from vae_loc.errors import UnusableInput
from vae_loc.model.network import Model, load_model
from vae_loc.preprocessing.open_scan import Scan, open_scan
from vae_loc.preprocessing.pose import outline_dice
from vae_loc.scans.cases import Case
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.locate import locate, score_canonical, spread_of
from vae_loc.scoring.scan_gate import tissue_fit, verdict_on
from vae_loc.scoring.score_options import ScoreOptions

FOLDERS = ("ixi", "ds002748", "ds011", "gliomas", "ms", "ms_tabriz", "ms_insights", "stroke")
UNLIKE = "do not trust map and findings"  # how the warning ends


def main() -> None:
    """Print and write the page."""
    parser = parser_of(__doc__, shared=True, output=True)
    parser.add_argument("--most", type=int, default=40, help="scans of a folder and contrast")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = (
        "# What the models warn about\n\nMade by `python -m benchmarks.measured.scan_gate`. "
        + (__doc__ or "").split("\n\n", 2)[2]
    )
    for name in CONTRASTS:
        model = load_model(name)
        text += f"\n## Model {name}\n\n| scans | outline | spread | tissue | warned | refused |\n|---|---|---|---|---|---|\n"
        for folder in FOLDERS:
            for contrast in CONTRASTS:
                cases = cases_in(options.shared / folder, contrast)[: options.most]
                text += row(f"{len(cases)} {folder}, {contrast}", cases, model) if cases else ""
    text += made_rows(options.shared)
    finish(text, options.output)


def row(title: str, cases: list[Case], model: Model) -> str:
    """Return the row of some scans."""
    template, healthy = model.reference["template"], model.facts.healthy
    assert healthy is not None
    outlines, spreads, warned, refused = [], [], 0, 0
    tissues: Counter[str] = Counter()
    for case in cases:
        scan = open_scan(case)
        canonical = canonical_of(scan, model)
        features = score_canonical(canonical, model, ["rec-error"]).features
        outlines.append(outline_dice(canonical.mask, template))
        spreads.append(spread_of(features, canonical.mask, model.reference) / max(1.0, healthy.spread[-1]))
        tissues[tissue_fit(canonical, template).contrast] += 1
        located = locate(scan, model, ScoreOptions(force=True))
        warned += any(UNLIKE in warning for warning in located.warnings)
        refused += bool(located.refusals)
    told = ", ".join(f"{count} {contrast}" for contrast, count in tissues.most_common())
    return (
        f"| {title} | {min(outlines):.2f}, {np.median(outlines):.2f} | {np.median(spreads):.2f}, {max(spreads):.2f} | "
        f"{told} | {warned} | {refused} |\n"
    )


def made_rows(shared: Path) -> str:
    """Return the table of what was made of one scan of each folder and contrast, and of things that are no heads."""
    refused: dict[tuple[str, str], list[bool]] = {}
    for folder, contrast in itertools.product(FOLDERS, CONTRASTS):
        for case in cases_in(shared / folder, contrast)[1:2]:
            scan, model = open_scan(case), load_model(contrast)
            made = [("must not pass", *one) for one in nonsense(scan)] + [("must pass", *one) for one in hard(scan)]
            if (folder, contrast) == ("ds002748", "t1"):
                made += [("must not pass", *one) for one in objects(scan.volume)]
            for must, name, make in made:
                refused.setdefault((must, name), []).append(_is_refused(make, model))
    rows = "".join(f"| {name} | {must} | {sum(of)} of {len(of)} |\n" for (must, name), of in refused.items())
    return f"\n## Made of real scans\n\n| what | | refused |\n|---|---|---|\n{rows}"


def _is_refused(make: Callable[[], Scan], model: Model) -> bool:
    try:
        scan = make()
    except UnusableInput:  # no brain was found in it
        return True
    return bool(verdict_on(scan, canonical_of(scan, model), model, force=True).refusals)


if __name__ == "__main__":
    main()
