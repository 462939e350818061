"""Healthy T1 scans thinned to the thick slices of clinical 2-D scans, beside the full scans: alignment, level, findings.

    python -m benchmarks.measured.thick_slices --shared ../shared/data -o docs/measured/thick-slices.md

Each scan is averaged along one of its voxel axes over slices of 3 to 8 mm, as a 2-D acquisition without gaps does; its
brain mask likewise. Off: mean distance over brain points from where the full scan is put. Flagged: share of the voxels
in the brain beyond the threshold of 5 %. Findings: those of the default, 0.1 expected per healthy scan. The statistics
of the shipped T1 model know all but the training people, of whom none is taken: what is measured is what thickness
changes. One thread; nothing is drawn by chance.
"""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.command import parser_of
from vae_loc.model.checkpoint import find_model, healthy_threshold
from vae_loc.model.network import Model, load_model
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scoring.locate import Located, locate
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS, ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import segment
from vae_loc.training.training_record import read_record

THICKNESSES_MM = (3.0, 5.0, 6.5, 8.0)
DIRECTIONS = {"sagittal": 0, "coronal": 1, "axial": 2}  # axes of RAS
FPR = 0.05
LOST_MM = 10.0  # an alignment that is farther off has lost the brain
BLOCK = 997  # one of so many brain voxels is measured


@dataclass(frozen=True)
class Met:
    """The figures of one scan."""

    off_mm: float
    flagged: float
    findings: int
    warned: bool


def thinned(case: Case, axis: int, mm: float, folder: Path) -> Case:
    """Write a scan and its brain mask as thick slices along the voxel axis nearest to an axis of RAS."""
    full = open_scan(case)
    scan, mask = (
        nib.as_closest_canonical(nib.Nifti1Image(data.astype(np.float32), full.volume.affine))
        for data in (full.volume.data, full.brain)
    )
    every = max(1, round(mm / float(scan.header.get_zooms()[axis])))
    affine = scan.affine.copy()
    affine[:3, 3] += scan.affine[:3, axis] * (every - 1) / 2
    affine[:3, axis] *= every
    paths = [folder / f"thin_{name}.nii.gz" for name in ("t1", "brainmask")]
    values = averaged(scan.get_fdata(dtype=np.float32), axis, every)
    inside = averaged(mask.get_fdata(dtype=np.float32), axis, every) > 0.5
    for path, data in zip(paths, (values, inside.astype(np.uint8)), strict=True):
        nib.Nifti1Image(data, affine).to_filename(path)
    return Case(scan=paths[0], subject=case.subject, contrast="t1", brain_mask=paths[1])


def averaged(data: np.ndarray, axis: int, every: int) -> np.ndarray:
    """Return means of so many neighbouring slices; a rest at the end is left out."""
    whole = data.shape[axis] // every
    first = np.moveaxis(data, axis, 0)[: whole * every]
    return np.moveaxis(first.reshape(whole, every, *first.shape[1:]).mean(axis=1), 0, axis)


def scored(case: Case, model: Model) -> Located:
    """Score one scan by Combi."""
    return locate(open_scan(case), model, ScoreOptions(force=True))


def met(located: Located, full: Located, model: Model) -> Met:
    """Compare a scan with the full one."""
    places = np.argwhere(full.brain)[::BLOCK] @ full.volume.affine[:3, :3].T + full.volume.affine[:3, 3]
    on_grid = [
        places @ inverse[:3, :3].T + inverse[:3, 3]
        for inverse in (np.linalg.inv(of.canonical.grid.affine) for of in (located, full))
    ]
    pixel_mm = full.canonical.grid.pixel_mm
    heat = located.maps["combi"][located.brain]
    made = segment(located, model, "combi", Segmentation())
    return Met(
        float(np.linalg.norm(on_grid[0] - on_grid[1], axis=1).mean()) * pixel_mm,
        float((heat >= healthy_threshold(model.checkpoint, "combi", FPR)).mean()),
        len(made.findings),
        any("align" in warning for warning in located.warnings),
    )


def row(name: str, found: list[Met]) -> str:
    """Return one row of the table."""
    off = np.array([one.off_mm for one in found])
    flagged = np.array([one.flagged for one in found])
    return (
        f"| {name} | {np.median(off):.2f} / {np.percentile(off, 90):.2f} / {off.max():.2f} | {(off > LOST_MM).sum()} "
        f"| {flagged.mean():.1%} ({flagged.min():.1%} to {flagged.max():.1%}) "
        f"| {np.mean([one.findings for one in found]):.2f} | {sum(one.warned for one in found)} |"
    )


def people(shared: Path, count: int) -> list[Case]:
    """Return `count` people of each scanner that the T1 network did not learn from, evenly spaced."""
    record = read_record(find_model("t1").with_suffix(".training.json"))
    held = [shared / "ixi" / f"{subject}_t1.nii.gz" for subject in record.holdout_subjects]
    return [
        case
        for cases in (find_cases(held), find_cases([shared / "ds002748"]))
        for case in cases[:: max(1, len(cases) // count)][:count]
    ]


def rows(cases: list[Case], model: Model, folder: Path) -> Iterable[str]:
    """Yield the table, the full scans first."""
    full = [scored(case, model) for case in cases]
    yield row(f"{len(cases)} full scans, as they are", [met(one, one, model) for one in full])
    for direction, axis in DIRECTIONS.items():
        for mm in THICKNESSES_MM:
            thick = (scored(thinned(case, axis, mm, folder), model) for case in cases)
            yield row(f"{direction}, {mm:g} mm", [met(one, of, model) for one, of in zip(thick, full, strict=True)])


def main() -> None:
    """Print and write the page."""
    parser = parser_of(__doc__, shared=True, output=True)
    parser.add_argument("--people", type=int, default=10, help="of each scanner")
    options = parser.parse_args()
    model = load_model(find_model("t1"))
    cases = people(options.shared, options.people)
    lines = [
        "# Thick slices",
        "",
        f"Made by `python -m benchmarks.measured.thick_slices` on {platform.machine()}, one thread.",
        "",
        f"Healthy T1 scans of {len(cases)} people of two scanners, averaged to slices as a clinical 2-D scan has them.",
        "Off: mean distance over the brain from where the full scan is put, mm; median / nine of ten / largest.",
        f"Lost: farther off than {LOST_MM:g} mm.",
        f"Flagged: share of brain voxels beyond the threshold for {FPR:.0%}, mean and range over people.",
        f"Findings: per scan, where {DEFAULT_FALSE_FINDINGS:g} are expected.",
        "",
        "| slices | off | lost | flagged | findings | warned of the alignment |",
        "|---|---|---|---|---|---|",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for line in rows(cases, model, Path(folder)):
            print(line, flush=True)
            lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
