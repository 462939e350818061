"""Findings of `segment` by default: in healthy people, in healthy people with a transplanted lesion, in patients.

    python -m benchmarks.measured.findings --shared ../shared/data -o docs/measured/findings.md

The healthy people are the held-out IXI subjects and ds002748.
They lie in five folds, and each fold is judged by statistics, modes and a threshold of the others.
Lesions are transplanted into the same people: a patient's glioma, a hole filled with fluid, a small spot (4 to
8 mm), and what is large (18 to 32 mm) and faint.
The judge of the learned map is the shipped model's: it has seen the healthy people, but none of these lesions.
Patients are judged by the shipped model as it is.
A finding is on a lesion where a tenth of its voxels are annotated, else it is false; a patient is found by a finding on one.
Brackets hold the 95 % interval of a bootstrap over people.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.cohorts import CONTRASTS, LABELS, cases_in, site_cases
from benchmarks.command import finish, made_by, parser_of, reading
from benchmarks.flags import FALSE, flags_of_trial, flags_table
from benchmarks.page import interval, table, yes
from benchmarks.patients import judged
from benchmarks.tools.refresh_models import without_site
from benchmarks.transplants import KINDS, gliomas_of, lesions_in
from benchmarks.trial import (
    METHODS,
    Diseased,
    Healthy,
    Met,
    Trial,
    average_precision,
    healthy_brains,
    scored,
    transplanted,
    trial,
)
from vae_loc.evaluation.scan_metrics import baseline_maps
from vae_loc.model.checkpoint import Checkpoint, healthy_threshold
from vae_loc.model.network import Model, load_model, ready
from vae_loc.preprocessing.canonical import CanonicalVolume
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.resampling import doubled_mask
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.finding_model import Finding, about_ml
from vae_loc.scoring.findings import (
    extent_fpr,
    known_findings,
    strength_for,
    strength_interval,
)
from vae_loc.scoring.locate import Located, locate, score_canonical
from vae_loc.scoring.normalised_maps import normalised_maps
from vae_loc.scoring.score_options import ScoreOptions, Segmentation, default_rate
from vae_loc.scoring.segmentation import segment
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.vocabulary import LEARNED, PLACE_Z, FloatArray, Method

SHOWN = (*METHODS, PLACE_Z, LEARNED)
EXTENTS = (0.03, 0.02, 0.01, 0.005)  # shares of healthy voxels beyond the extent
RESAMPLES = 2000


def main() -> None:
    """Print and write the page."""
    parser = parser_of(__doc__, shared=True, output=True, models=True)
    parser.add_argument("--only", choices=CONTRASTS, action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = f"# Findings\n\n{made_by('benchmarks.measured.findings')}\n{reading(__doc__)}"
    for contrast in options.only or CONTRASTS:
        began = time.perf_counter()
        text += page(contrast, options.models, options.shared)
        print(contrast, f"{time.perf_counter() - began:.0f} s", flush=True)
    finish(text, options.output)


def page(contrast: str, models: Path, shared: Path) -> str:
    """Return the tables of one contrast."""
    path = models / f"{contrast}.safetensors"
    model = load_model(path)
    with ArrayStore() as store:
        tables = trials_page(model, path, shared, store)
    return (
        f"\n## {contrast.upper()}: model {model.digest[:12]}\n\n### Healthy people, and lesions transplanted into them\n\n"
        + tables
        + level_words(model)
        + patients_page(model, shared)
        + maps_page(model, shared)
        + real_healthy(path, contrast, shared)
    )


def trials_page(model: Model, path: Path, shared: Path, store: ArrayStore) -> str:
    """Return the tables of healthy people and transplanted lesions."""
    contrast = model.facts.contrast

    def kept(one: Healthy | Diseased) -> Healthy | Diseased:
        return replace(one, features={name: store.kept(values) for name, values in one.features.items()})

    healthy = [kept(brain) for brain in healthy_brains(model, path, shared)]
    diseased = [kept(scored(one, model)) for one in transplanted(model, healthy, shared)]
    rows: list[list[str]] = []
    every = [("IXI", True), ("ds002748", True), ("IXI, ds002748", True), ("IXI, ds002748", False)]
    for scanners, modes in every if contrast == "t1" else every[-2:]:
        with ArrayStore() as own:
            of = trial(
                healthy, diseased, scanners, modes=modes, contrast=contrast, methods=SHOWN, model=model, store=own
            )
            rows += trial_rows(of, modes)
            print("\n".join(map(" | ".join, rows[-len(SHOWN) :])), flush=True)
            if scanners == every[-1][0] and modes == bool(model.checkpoint.modes):  # as in the shipped model
                further = (
                    extent_rows(of) + f"\n### How often the flags are true\n\n{flags_table(flags_of_trial(of, model))}"
                )
    met = [f"{kind}: found / strongest is it / false / Dice / AP" for kind in KINDS]
    return table(["statistics of", "modes", "map", "findings per healthy scan", *met], rows) + further


def trial_rows(of: Trial, modes: bool) -> Iterator[list[str]]:
    """Yield a row for each map."""
    for method in SHOWN:
        counts = of.healthy_counts(method, extent_fpr(of.contrast))
        found = ", ".join(f"{scanner} {interval(values)}" for scanner, values in counts.items())
        cells = [met_cell(rows) for rows in of.met(method, extent_fpr(of.contrast)).values()]
        yield [of.scanners, "off" if modes else "left in", method, found, *cells]


def met_cell(rows: Sequence[Met]) -> str:
    """Return found, strongest, false, Dice and AP of lesions, with the interval of what is found."""
    means = np.mean([(row.first, row.false, row.dice, row.ap) for row in rows], axis=0)
    return " / ".join([interval([row.found for row in rows]), *(f"{mean:.2f}" for mean in means)])


def extent_rows(of: Trial) -> str:
    """Return the Dice of Combi's findings at several extents."""
    rows = [
        [f"{share:.1%}", *(f"{np.mean([row.dice for row in rows]):.3f}" for rows in of.met("combi", share).values())]
        for share in EXTENTS
    ]
    return "\n### The extent: Dice of Combi's findings\n\n" + table(["share of healthy voxels beyond it", *KINDS], rows)


def level_words(model: Model) -> str:
    """Return the shipped model's level of Combi with the interval of a bootstrap over healthy scans."""
    known = known_findings(model.facts, "combi")
    assert known is not None
    low, high = strength_interval(known, default_rate(known))
    return (
        f"\nThe shipped model's strength of Combi for {default_rate(known):.2g} findings per healthy scan, by "
        f"{' and '.join(f'{count} {kind}' for kind, count in Counter(known.kinds).items())} scans: "
        f"{strength_for(known, default_rate(known)):.2f} [{low:.2f}, {high:.2f}].\n"
    )


def patients_page(model: Model, shared: Path) -> str:
    """Return the findings of the model's defaults in patients, on their own grids."""
    rows, gliomas = [], []
    met: dict[str, list[Finding]] = {"lesions": [], FALSE: []}
    for cohort, label in LABELS.items():
        for case in cases_in(shared / cohort, model.facts.contrast):
            row, of, own = patient_row(cohort, case, shared / cohort / label.format(subject=case.subject), model)
            rows.append(row)
            for kind, findings in own.items():
                met[kind] += findings
            gliomas += [of] if cohort == "gliomas" else []
    found, first, false, dice, ap = (interval(values) for values in zip(*gliomas, strict=True))
    columns = ["patient", "lesion ml", "found", "strongest is it", "false findings", "without an annotated voxel"]
    columns += ["Dice", "oracle Dice", "AP Combi", "AP intensity", "AP place-z", "AP learned", "strongest finding"]
    return f"\n### Patients, the shipped model's defaults\n\n{table(columns, rows)}" + (
        f"\nMeans of the gliomas: found {found}, strongest is it {first}, false findings {false}, Dice {dice}, AP {ap}.\n"
        f"\nHow often the flags of these findings are true.\n\n{flags_table(met)}"
    )


def maps_page(model: Model, shared: Path) -> str:
    """Return the table of the maps side by side: their default findings in the gliomas, their Dice and AP."""
    of: dict[Method, list[tuple[float, ...]]] = {method: [] for method in SHOWN}
    for case in cases_in(shared / "gliomas", model.facts.contrast):
        scan = open_scan(case)
        truth = read_labels(shared / "gliomas" / LABELS["gliomas"].format(subject=case.subject), scan.volume)[0]
        truth &= scan.brain
        located = locate(scan, model, ScoreOptions(methods=SHOWN, force=True))
        for method in SHOWN:
            segmented = segment(located, model, method, Segmentation())
            one = judged(located.maps[method], segmented.numbers, truth, scan.brain)
            of[method].append((one.found, one.false, one.dice, one.oracle, one.ap))
    rows = [[method, *(interval(values) for values in zip(*rows, strict=True))] for method, rows in of.items()]
    columns = ["map", "found", "false a patient", "Dice", "oracle Dice", "AP"]
    return f"\n### Each map by its own defaults, the five gliomas\n\n{table(columns, rows)}"


def real_healthy(path: Path, contrast: str, shared: Path) -> str:
    """Return the findings in the real healthy scans that a model is calibrated on, and the AP of lesions in them."""
    cases = site_cases(contrast, shared)
    return real_page(without_site(path, shared), cases, shared) if cases else ""


def real_page(before: Checkpoint, cases: Sequence[Case], shared: Path) -> str:
    """Return the tables of real healthy scans: each is judged by a model that was calibrated on the others."""
    calibrated = [ready(calibrate_cases(before, [of for of in cases if of != case])) for case in cases]
    trials = {
        "before the calibration": [ready(before)] * len(cases),
        f"calibrated on the {len(cases) - 1} others": calibrated,
    }
    rows = []
    for title, models in trials.items():
        pairs = [
            (locate(open_scan(case), model, ScoreOptions(force=True)), model)
            for case, model in zip(cases, models, strict=True)
        ]
        counts = [len(segment(one, model, "combi", Segmentation()).findings) for one, model in pairs]
        rows.append([title, ", ".join(map(str, counts)), *(flagged(pairs, fpr) for fpr in (0.05, 0.01))])
    columns = ["the model", "findings in each", "voxels flagged at 5 %, in %", "at 1 %, in %"]
    text = f"\n### Healthy, real: ds011, slices of 5 mm\n\n{table(columns, rows)}"
    return text + real_lesions(cases, calibrated, shared)


def flagged(pairs: Sequence[tuple[Located, Model]], fpr: float) -> str:
    """Return the share of brain voxels beyond the threshold for a false-positive rate, in %."""
    thresholds = [healthy_threshold(model.checkpoint, "combi", fpr) for _, model in pairs]
    return interval(
        [
            100 * float(np.mean(one.maps["combi"][one.brain] > threshold))
            for (one, _), threshold in zip(pairs, thresholds, strict=True)
        ]
    )


def real_lesions(cases: Sequence[Case], models: Sequence[Model], shared: Path) -> str:
    """Return the AP of lesions transplanted into real healthy scans, each judged by a model that does not know it."""
    rng, methods = np.random.default_rng(0), SHOWN
    gliomas = gliomas_of(models[0], shared)  # one template: aligned alike to all of these models
    aps: dict[tuple[Method, str], list[list[float]]] = {(m, kind): [] for m in methods for kind in KINDS}
    for case, model in zip(cases, models, strict=True):
        host = canonical_of(open_scan(case), model)
        sick = [one for of in gliomas for one in lesions_in(host, of, model.facts.contrast, rng)]
        for key in aps:
            aps[key].append([])
        for kind, brain, truth in sick:
            maps = maps_of(brain, model, methods)
            for method, values in maps.items():
                aps[method, kind][-1].append(average_precision(np.abs(values), truth, doubled_mask(brain.mask)))
    rows = [
        [method, *(interval([float(np.mean(own)) for own in aps[method, kind] if own]) for kind in KINDS)]
        for method in methods
    ]
    text = (
        "\nLesions transplanted into these scans, five of each kind in each: the mean AP, its interval over people.\n\n"
    )
    return text + table(["map", *KINDS], rows)


def maps_of(brain: CanonicalVolume, model: Model, methods: Sequence[Method]) -> dict[Method, FloatArray]:
    """Return the signed maps of a brain on the canonical grid, at half its pixel."""
    of = score_canonical(brain, model, methods).features
    return normalised_maps(
        of,
        brain.mask,
        model.reference,
        methods,
        model.checkpoint.modes,
        contrast=model.facts.contrast,
        judge=model.checkpoint.judge,
    )


def patient_row(
    cohort: str, case: Case, label: Path, model: Model
) -> tuple[list[str], tuple[float, ...], dict[str, list[Finding]]]:
    """Return the row of one patient; found, strongest, false findings, Dice and AP as numbers; the findings by kind."""
    scan = open_scan(case)
    truth, _ = read_labels(label, scan.volume)
    truth &= scan.brain
    located = locate(scan, model, ScoreOptions(methods=("combi", LEARNED), force=True))
    segmented = segment(located, model, "combi", Segmentation())
    brain = scan.brain
    of = judged(located.maps["combi"], segmented.numbers, truth, brain)
    first, older = bool(of.on[:1].any()), str(np.count_nonzero(of.annotated == 0))
    others = baseline_maps(scan.volume, brain, located.canonical, model.reference, contrast=model.facts.contrast)
    aps = [average_precision(others[name], truth, brain) for name in ("intensity", "place-z") if name in others]
    aps.append(average_precision(located.maps[LEARNED], truth, brain))
    named = segmented.findings[0] if segmented.findings else None
    words = f"{about_ml(named.volume_ml)}, {named.sign}, {named.place_words}" if named else "none"
    ml = np.count_nonzero(truth) * scan.volume.voxel_mm3 / 1000
    figures = [f"{value:.2f}" for value in (of.dice, of.oracle, of.ap, *aps)]
    row = [f"{cohort} {case.subject}", f"{ml:.3g}", yes(of.found), yes(first), str(of.false), older, *figures, words]
    met = {"lesions": [one for one in segmented.findings if of.on[one.number - 1]]}
    met[FALSE] = [one for one in segmented.findings if not of.on[one.number - 1]]
    return row, (of.found, first, of.false, of.dice, of.ap), met


if __name__ == "__main__":
    main()
