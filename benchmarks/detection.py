"""How well the shipped models find disease, and what each idea is worth: `docs/measured/detection.md`.

    python benchmarks/detection.py --shared ../shared/data -o docs/measured/detection.md --montages DIR

Patients lie in `gliomas/` and `ms/` below --shared as <subject>_<contrast>.nii.gz with <subject>_seg or
<subject>_lesions; healthy scans in `ixi/`. All figures on the scans' own grids, inside the brain, a
subject at a time, then the mean with a bootstrap over subjects. Seed 0; one thread. Findings, and lesions
transplanted into healthy people: `benchmarks/findings.py`.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vae_loc.evaluation.baselines import baseline_maps
from vae_loc.evaluation.healthy_rates import STATED_SHARES, healthy_rates, measure_healthy
from vae_loc.evaluation.metrics import above, dice_at, mean_interval, rank_sorted
from vae_loc.evaluation.record import Interval
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model, load_model, ready
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import CanonicalVolume, all_from_canonical
from vae_loc.preprocessing.open_scan import Scan, open_scan
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.preprocessing.slices import from_slices, to_slices
from vae_loc.results.montage import Shown, montage_png
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scans.volume import Volume, read_labels, read_volume, write_volume
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.locate import locate
from vae_loc.scoring.normalised_maps import at_place, levelled, mean_and_sd, moments
from vae_loc.scoring.segmentation import signed_on_grid
from vae_loc.scoring.slice_scores import score_slices
from vae_loc.scoring.smoothing import smoothed, two_scales
from vae_loc.training.healthy_reference import calibrate_cases
from vae_loc.training.training_record import read_record
from vae_loc.vocabulary import METHODS

COHORTS = {"gliomas": "{subject}_seg.nii.gz", "ms": "{subject}_lesions.nii.gz"}
POLARITY = {"t1": "dark", "t2": "bright", "flair": "bright"}  # of most disease
FPR = 0.05
Make = Callable[[dict, CanonicalVolume], np.ndarray]


@dataclass
class Figures:
    """Of one map on one scan."""

    auroc: float
    ap: float
    flagged: float | None
    dice: float | None
    oracle: float


def figures(values: np.ndarray, truth: np.ndarray, brain: np.ndarray, threshold: float | None) -> Figures:
    """Compare a map with the annotation inside the brain."""
    lesion, other = np.sort(values[brain & truth]), np.sort(values[brain & ~truth])
    ranking = rank_sorted([lesion], [other])
    flagged = dice = None
    if threshold is not None:
        flagged, dice = above(other, threshold) / len(other), dice_at(lesion, other, threshold)
    return Figures(ranking.auroc, ranking.average_precision, flagged, dice, ranking.best_dice)


def smooth6(values: np.ndarray, canonical: CanonicalVolume) -> np.ndarray:
    """The single scale of the bare maps."""
    return smoothed(values, canonical.mask, canonical.grid.pixel_mm, 6.0)


def two(values: np.ndarray, canonical: CanonicalVolume) -> np.ndarray:
    """The two scales of the normalised maps."""
    return two_scales(values, canonical.mask, canonical.grid.pixel_mm)


def even(values: np.ndarray, canonical: CanonicalVolume) -> np.ndarray:
    """Two scales, without the scan's own field."""
    return levelled(two(values, canonical), canonical.mask)


def even_curve(fields: dict, canonical: CanonicalVolume) -> np.ndarray:
    """The same, without a curve over the expected intensity."""
    residual = two(fields["residual"], canonical)
    return levelled(residual, canonical.mask, two(canonical.data, canonical) - residual)


# each step of the residual's way, beside what it replaces; all by place and on the scan's own scale
STEPS: dict[str, Make] = {
    "squared, then smoothed 6 mm": lambda f, c: smooth6(f["residual"] ** 2, c),
    "smoothed 6 mm with its sign": lambda f, c: smooth6(f["residual"], c),
    "two scales": lambda f, c: two(f["residual"], c),
    "two scales, symmetric field off": lambda f, c: even(f["residual"], c),
    "two scales, field and curve off": even_curve,
    "KL gradient with its sign, two scales": lambda f, c: two(f["kl-gradient"], c),
    "KL gradient's magnitude, two scales": lambda f, c: two(np.abs(f["kl-gradient"]), c),
}


def main() -> None:
    """Print and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--variant", action="append", default=[], metavar="TITLE=MODEL", help="another model to compare"
    )
    parser.add_argument("--only", choices=list(POLARITY), action="append", help="this contrast; may be repeated")
    parser.add_argument("--short", action="store_true", help="baselines and maps only, no steps and no site")
    parser.add_argument("--montages", type=Path, help="folder for a picture of every patient")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = (
        "# Detection\n\nMade by `python benchmarks/detection.py`; seed 0, one thread, "
        f"{platform.machine()}, torch {torch.__version__}. The reading is in [detection-reading.md](detection-reading.md).\n"
    )
    for contrast in options.only or POLARITY:
        text += page(contrast, load_model(contrast), options)
    text += variants(options)
    print(text)
    if options.output:
        options.output.write_text(text)


def patients(shared: Path, cohort: str, contrast: str) -> list:
    """Return the annotated scans of a cohort."""
    scans = sorted((shared / cohort).glob(f"*_{contrast}.nii.gz"))
    return find_labelled(scans, COHORTS[cohort], contrast=contrast)


def page(contrast: str, model: Model, options: argparse.Namespace) -> str:
    """Return the tables of one contrast."""
    healthy, appear_of = held_out(options.shared, contrast)
    text = f"\n## {contrast.upper()}: model {model.digest[:12]}\n"
    for cohort in COHORTS:
        rows, names = compare(model, patients(options.shared, cohort, contrast), options.montages)
        text += f"\n### {cohort}, {contrast}\n\n" + table(rows, names)
    if options.short:
        return text
    rows, names = compare(model, patients(options.shared, "gliomas", contrast), None, prepared=without_bias)
    rows = {name: of for name, of in rows.items() if name in METHODS or name.startswith("place-z")}
    text += f"\n### gliomas, {contrast}, after N4 bias correction\n\n" + table(rows, names)
    text += f"\n### Steps of the residual's way, gliomas, {contrast}\n\n"
    rows, names = steps(model, patients(options.shared, "gliomas", contrast), healthy, appear_of)
    text += table(rows, names)
    if contrast == "t1":
        half = ready(calibrate_cases(model.checkpoint, healthy[::2]))
        cells = flagged_healthy(healthy[1::2], half)
        shares = ", ".join(f"{m} {c.mean:.1%} [{c.low:.1%}, {c.high:.1%}]" for m, c in zip(METHODS, cells, strict=True))
        text += (
            f"\nHealthy voxels of the same scanner flagged at 5 % ({len(healthy[::2])} held-out subjects calibrate, "
            f"{len(healthy[1::2])} others are flagged): {shares}.\n"
        )
        text += site(model, healthy)
    return text


def flagged_healthy(cases: list[Case], model: Model) -> list[Interval]:
    """Return the share of healthy voxels that each map flags at 5 %."""
    scans = measure_healthy(cases, model, brain_mask=None, progress=lambda _: None)
    found = healthy_rates(scans, seed=0)
    return [found.measured[method][STATED_SHARES.index(FPR)] for method in METHODS]


def another_scanner(cases: list[Case], folder: Path) -> list[Case]:
    """Write healthy scans as another scanner might show them: gamma, shading, blur, noise."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    for case in cases:
        scan = open_scan(case)
        volume, brain = scan.volume, scan.brain
        top = float(np.percentile(volume.data[brain], 99))
        x, y, z = np.meshgrid(*[np.linspace(-1, 1, n) for n in volume.data.shape], indexing="ij")
        shaded = np.clip(volume.data / top, 0, None) ** 1.4 * np.exp(0.3 * (x**2 + y**2 + z**2) + 0.15 * y)
        worse = gaussian_filter(shaded, 0.7) + 0.04 * rng.standard_normal(shaded.shape)
        write_volume(folder / f"{case.subject}_t1.nii.gz", (top * worse * brain).astype(np.float32), volume)
        write_volume(folder / f"{case.subject}_brainmask.nii.gz", brain, volume)
    return find_cases([folder / f"{case.subject}_t1.nii.gz" for case in cases])


def site(model: Model, healthy: list[Case]) -> str:
    """Return the share flagged on a simulated site before and after `calibrate --healthy` with 5 and 10 scans."""
    lines = ["| calibrated on | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
    with tempfile.TemporaryDirectory() as folder:
        cases = another_scanner(healthy, Path(folder))
        models = {"the training scanner (as shipped)": model}
        models |= {f"{n} scans of the site": ready(calibrate_cases(model.checkpoint, cases[:n])) for n in (5, 10)}
        for title, calibrated in models.items():
            cells = flagged_healthy(cases[10:], calibrated)
            lines.append(f"| {title} | " + " | ".join(cell_of(c, ".1%") for c in cells) + " |")
    return (
        "\n### A simulated other scanner, healthy, T1: voxels flagged at 5 %\n\n"
        f"{len(cases) - 10} held-out subjects with gamma 1.4, shading, blur and noise.\n\n" + "\n".join(lines) + "\n"
    )


def held_out(shared: Path, contrast: str) -> tuple[list[Case], Callable]:
    """Return the healthy cases that no model saw, and how they are made to look."""
    record = read_record(Path(f"models/{contrast}.training.json"))
    cases = find_cases([shared / "ixi" / f"{name}_t1.nii.gz" for name in record.holdout_subjects])

    return cases, (lambda case: None) if contrast == "t1" else lambda case: appearance_of(case.subject, contrast)


def without_bias(volume: Volume) -> Volume:
    """Return a scan after N4 (Tustison et al. 2010) at a quarter of its resolution."""
    import SimpleITK as sitk

    brain, _ = find_brain(volume, "auto")
    image, mask = (sitk.GetImageFromArray(a.transpose(2, 1, 0)) for a in (volume.data, brain.astype(np.uint8)))
    for part in (image, mask):
        part.SetSpacing(volume.spacing_mm)
    corrector = sitk.N4BiasFieldCorrectionImageFilter()
    corrector.SetNumberOfWorkUnits(1)
    corrector.Execute(sitk.Shrink(image, [4] * 3), sitk.Shrink(mask, [4] * 3))
    field = sitk.GetArrayFromImage(corrector.GetLogBiasFieldAsImage(image)).transpose(2, 1, 0)
    return replace(volume, data=np.where(brain, volume.data / np.exp(field), 0).astype(np.float32))


def compare(
    model: Model, pairs: list, montages: Path | None, prepared: Callable[[Volume], Volume] = lambda volume: volume
) -> tuple[dict[str, list[Figures]], list[str]]:
    """Return the figures of baselines and maps, for every polarity."""
    rows = {}
    one_sign = POLARITY[model.facts.contrast]
    for pair in pairs:
        volume = prepared(read_volume(pair.case.scan))
        truth, _ = read_labels(pair.label, volume)
        scan = Scan(volume, *find_brain(volume, "auto"))
        found = locate(scan, model, methods=METHODS)
        signed = locate(scan, model, methods=METHODS, polarity=one_sign)
        maps = {
            name: (values, None)
            for name, values in baseline_maps(
                volume, found.brain, found.canonical, model.reference, contrast=model.facts.contrast
            ).items()
        }
        maps |= {
            f"{m}, bare": (found.raw_maps[m], healthy_threshold(model.checkpoint, m, FPR, raw=True)) for m in METHODS
        }
        maps |= {m: (found.maps[m], healthy_threshold(model.checkpoint, m, FPR)) for m in METHODS}
        maps |= {f"{m}, {one_sign}": (signed.maps[m], healthy_threshold(model.checkpoint, m, FPR)) for m in METHODS}
        for name, (values, threshold) in maps.items():
            rows.setdefault(name, []).append(figures(values, truth, found.brain, threshold))
        if montages:
            montages.mkdir(parents=True, exist_ok=True)
            threshold = healthy_threshold(model.checkpoint, "combi", FPR)
            picture = montage_png(
                volume,
                signed_on_grid(found, "combi", beyond=threshold),
                found.brain,
                title=f"{pair.case.scan.name} combi; cyan: annotation",
                shown=Shown(threshold, 3 * threshold),
                mask=truth,
            )
            (montages / f"{pair.case.scan.name.removesuffix('.nii.gz')}.png").write_bytes(picture)
    return rows, [pair.case.subject for pair in pairs]


def fields_of(canonical: CanonicalVolume, model: Model) -> dict:
    """Return what the network says of a brain, on the canonical grid."""
    stack = to_slices(canonical)
    found = score_slices(model, stack, METHODS)
    return {name: from_slices(values, stack, canonical) for name, values in found.fields.items()}


def steps(model: Model, pairs: list, healthy: list[Case], appear_of: Callable) -> tuple[dict, list[str]]:
    """Return the figures of every step; statistics by place from all held-out brains."""
    sums = {}
    for case in healthy:
        canonical = canonical_of(open_scan(case), model, appear_of(case))
        fields = fields_of(canonical, model)
        for name, make in STEPS.items():
            sums[name] = sums.get(name, 0) + moments(make(fields, canonical), canonical.mask)
    places = {name: mean_and_sd(total) for name, total in sums.items()}
    rows = {}
    for pair in pairs:
        scan = open_scan(pair.case, brain_mask="auto")
        truth, _ = read_labels(pair.label, scan.volume)
        canonical = canonical_of(scan, model)
        fields = fields_of(canonical, model)
        for name, make in STEPS.items():
            z = at_place(make(fields, canonical), canonical.mask, *places[name])
            values = z if "magnitude" in name or "squared" in name else np.abs(z)
            lowest = min(0.0, float(values.min()))
            (on_grid,) = all_from_canonical([values - lowest], canonical, scan.volume.affine, scan.brain)
            rows.setdefault(name, []).append(figures(on_grid, truth, scan.brain, None))
    return rows, [pair.case.subject for pair in pairs]


def variants(options: argparse.Namespace) -> str:
    """Return AP on the gliomas of models trained otherwise, beside the shipped ones."""
    if not options.variant:
        return ""
    lines = [
        "\n## Trained otherwise: gliomas, AP (AUROC)\n",
        "| model | contrast | " + " | ".join(METHODS) + " | best, one sign |",
        "|---|---|" + "---|" * (len(METHODS) + 1),
    ]
    named = [(f"shipped {c}", c) for c in POLARITY] + [v.split("=", 1) for v in options.variant]
    for title, path in named:
        model = load_model(path)
        contrast = model.facts.contrast
        rows, _ = compare(model, patients(options.shared, "gliomas", contrast), None)
        mean = {name: (np.mean([f.ap for f in of]), np.mean([f.auroc for f in of])) for name, of in rows.items()}
        best = max(mean[f"{m}, {POLARITY[contrast]}"] for m in METHODS)
        lines.append(
            f"| {title} | {contrast} | "
            + " | ".join(f"{mean[m][0]:.3f} ({mean[m][1]:.3f})" for m in METHODS)
            + f" | {best[0]:.3f} ({best[1]:.3f}) |"
        )
    return "\n".join(lines) + "\n"


def cell(values: list[float | None], form: str = ".3f") -> str:
    """Return mean and interval over the subjects."""
    return cell_of(mean_interval(values), form)


def cell_of(found: Interval, form: str = ".3f") -> str:
    """Return a mean with its interval."""
    if found.mean is None:
        return "-"
    return f"{found.mean:{form}} [{found.low:{form}}, {found.high:{form}}]"


def table(rows: dict[str, list[Figures]], subjects: list[str]) -> str:
    """Return a Markdown table: means with their interval, then the AP of every subject, if named."""
    head = "| map | AUROC | AP | flagged | Dice at 5 % | oracle Dice |"
    lines = [head + (f" AP of {', '.join(subjects)} |" if subjects else ""), "|---" * (7 if subjects else 6) + "|"]
    for name, of in rows.items():
        cells = [
            name,
            cell([f.auroc for f in of]),
            cell([f.ap for f in of]),
            cell([f.flagged for f in of], ".1%"),
            cell([f.dice for f in of]),
            cell([f.oracle for f in of]),
        ]
        cells += [" / ".join(f"{f.ap:.3f}" for f in of)] if subjects else []
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
