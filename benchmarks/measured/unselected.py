"""Models calibrated on ordinary scans: each site is judged by the scans of others, and an ill share is no matter.

    python -m benchmarks.measured.unselected --shared ../shared/data -o docs/measured/unselected.md

Sites are the gliomas (five patients of many scanners), `ms` (two, Ljubljana), the Toshiba scanner of `ms_tabriz` and
`ms_insights` (two and five), `stroke` (two) and the healthy people of ds011 (five, T2).
The model before has the healthy statistics of its training alone: T1 scans painted in its contrast.
A scan is judged by that model, calibrated on the ordinary scans of the other sites; the gliomas are in no reference.
A finding is on a lesion where a tenth of its voxels are annotated, else it is false.
Numbers and shares of ill scans are tried on T1: the scans of ds002748 are the site, a part of them ill with a
transplanted glioma, for a model that knows IXI alone; six people who are not among them are judged.
Brackets hold the 95 % interval of a bootstrap over people.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.cohorts import LABELS, cases_in, ordinary_cases
from benchmarks.command import finish, made_by, parser_of, reading
from benchmarks.page import interval, table
from benchmarks.patients import Judged, judged
from benchmarks.tools.refresh_models import without_site
from benchmarks.trial import Diseased, Healthy, folds, healthy_brains, scored, transplanted, widened
from vae_loc.evaluation.lesions import SHARE
from vae_loc.model.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from vae_loc.model.network import load_model, ready
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.findings import candidates_of, healthy_findings, strength_for, strengths_of
from vae_loc.scoring.locate import locate
from vae_loc.scoring.normalised_maps import Features, normalised_maps
from vae_loc.scoring.score_options import ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, Sums, folds_of
from vae_loc.training.healthy_reference import calibrate_unselected, prior_sums
from vae_loc.training.healthy_scores import PRIOR_SUBJECTS
from vae_loc.vocabulary import FloatArray

SITES = {
    "gliomas": ("gliomas",),
    "ms": ("ms",),
    "Toshiba": ("ms_tabriz", "ms_insights"),
    "stroke": ("stroke",),
    "ds011": ("ds011",),
}
COUNTS, SHARES, JUDGED = (5, 10, 20, 30), (0.0, 0.5, 1.0), 6


def main() -> None:
    """Print and write the page."""
    parser = parser_of(__doc__, shared=True, output=True, models=True)
    parser.add_argument("--before", type=Path, help="folder where the models before are kept for another run")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = f"# Ordinary scans\n\n{made_by('benchmarks.measured.unselected')}\n{reading(__doc__)}"
    for contrast in ("flair", "t2"):
        kept = options.before / f"{contrast}.safetensors" if options.before else None
        if kept is not None and kept.exists():
            before = load_checkpoint(kept)
        else:
            before = without_site(options.models / f"{contrast}.safetensors", options.shared)
            if kept is not None:
                save_checkpoint(before, kept)
        text += sites_page(contrast, before, options.shared)
        print(text, flush=True)
    finish(text + shares_page(options.models / "t1.safetensors", options.shared), options.output)


def sites_page(contrast: str, before: Checkpoint, shared: Path) -> str:
    """Return the table of one contrast: a row for each site and reference."""
    ordinary = ordinary_cases(contrast, shared)
    rows = []
    for site, folders in SITES.items():
        cases = [case for folder in folders for case in cases_in(shared / folder, contrast)]
        if not cases:
            continue
        others = [(case, label) for case, label in ordinary if case.scan.parent.name not in folders]
        references = {
            "before": before,
            f"{len(others)} ordinary scans": calibrate_unselected(before, [(case, None) for case, _ in others]),
            f"{len(others)}, lesions annotated": calibrate_unselected(before, others),
        }
        for title, model in references.items():
            of = [by_default(case, model, shared) for case in cases]
            found, false = interval([one.found for one in of]), interval([one.false for one in of])
            dice, ap = interval([one.dice for one in of]), interval([one.ap for one in of])
            cells = ["-", false, "-", "-"] if site == "ds011" else [found, false, dice, ap]
            rows.append([f"{site} ({len(cases)})", title, *cells])
            print(rows[-1], flush=True)
    columns = ["site", "reference", "found", "false a scan", "Dice", "AP Combi"]
    return f"\n## {contrast.upper()}: each site by the others\n\n{table(columns, rows)}"


def by_default(case: Case, model: Checkpoint, shared: Path) -> Judged:
    """Return how a model's default findings met the lesion of a scan."""
    scan, loaded = open_scan(case), ready(model)
    located = locate(scan, loaded, ScoreOptions(force=True))
    segmented = segment(located, loaded, "combi", Segmentation())
    folder, truth = case.scan.parent.name, np.zeros(scan.brain.shape, dtype=bool)
    if folder in LABELS:
        truth = read_labels(shared / folder / LABELS[folder].format(subject=case.subject), scan.volume)[0] & scan.brain
    return judged(located.maps["combi"], segmented.numbers, truth, scan.brain)


def shares_page(path: Path, shared: Path) -> str:
    """Return the table of numbers of scans, and shares of ill ones."""
    model = load_model(path)
    healthy = list(healthy_brains(model, path, shared))
    site = [brain for brain in healthy if brain.scanner == "ds002748"]
    diseased = [scored(one, model) for one in transplanted(model, healthy, shared) if one.host.scanner == "ds002748"]
    prior = prior_sums(folds(healthy, "IXI", modes=False).everyone.reference, PRIOR_SUBJECTS)
    gliomas = {one.host.case.subject: one for one in diseased if one.kind == "glioma"}
    pool, last = site[:-JUDGED], {brain.case.subject for brain in site[-JUDGED:]}
    rows = []
    for count in COUNTS:
        for share in SHARES:
            chosen = pool[:: len(pool) // count][:count]
            ill = [gliomas.get(brain.case.subject) if at < share * count else None for at, brain in enumerate(chosen)]
            rows.append([count, f"{share:.0%}", *of_site(chosen, ill, prior, site[-JUDGED:], diseased, last)])
            print(rows[-1], flush=True)
    kinds = [f"{kind} found" for kind in ("glioma", "hole", "spot")]
    columns = ["ordinary scans", "of them ill", "strength", "findings a healthy person", *kinds]
    return f"\n## T1: how many scans, and how many of them ill\n\n{table(columns, rows)}"


def of_site(
    chosen: Sequence[Healthy],
    ill: Sequence[Diseased | None],
    prior: Sums,
    judges: Sequence[Healthy],
    diseased: Sequence[Diseased],
    subjects: set[str],
) -> list[str]:
    """Return strength, findings of the judged healthy people, and the share of their lesions that are found."""
    of = folds_of([brain.case.subject for brain in chosen], modes=False)
    brains = [
        FoldedBrain(widened(one.features if one else brain.features), brain.canonical.mask, of[brain.case.subject])
        for brain, one in zip(chosen, ill, strict=True)
    ]
    with ArrayStore() as store:
        fit = CrossFit(brains, store, prior=prior, unselected=True)

        def combi(features: Features, brain: Healthy, fold: int | None) -> FloatArray:
            reference = fit.statistics(frozenset() if fold is None else frozenset({fold})).reference
            return normalised_maps(features, brain.canonical.mask, reference, ["combi"], contrast="t1")["combi"]

        own = [combi(brain.features, host, brain.fold) for brain, host in zip(brains, chosen, strict=True)]
        extent = float(np.quantile(np.abs(np.concatenate([values[values != 0] for values in own])), 0.98))
        strengths = [strengths_of(values, extent)[1:] for values in own]
        level = strength_for(healthy_findings(extent, strengths, None, prior_weight=0), 0.1)
        counts = [
            sum(s > level for s in strengths_of(combi(widened(host.features), host, None), extent)) for host in judges
        ]
        found: dict[str, list[bool]] = {"glioma": [], "hole": [], "spot": []}
        for one in diseased:
            if one.host.case.subject in subjects:
                labels, candidates = candidates_of(combi(widened(one.features), one.host, None), extent)
                strong = [c.label for c in candidates if c.strength > level]
                found[one.kind].append(any(one.truth[labels == label].mean() >= SHARE for label in strong))
    return [f"{level:.1f}", interval(counts), *(f"{np.mean(values):.2f}" for values in found.values())]


if __name__ == "__main__":
    main()
