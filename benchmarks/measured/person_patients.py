"""Patients with several contrasts, by `vae-loc segment` as it is, for `persons.py`."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from benchmarks.cohorts import CONTRASTS, LABELS
from benchmarks.page import interval, table
from benchmarks.patients import Judged, judged
from vae_loc.results.person_summary import PersonSummary, read_person
from vae_loc.results.score_cohort import score_cohort
from vae_loc.scoring.merged_findings import read_output
from vae_loc.scoring.score_options import Files, RunOptions, ScoreOptions, Segmentation

MOVED_DEGREES, MOVED_MM = 12.0, 25.0
COHORTS = ("gliomas", "ms", "ms_tabriz")


def patients_page(shared: Path) -> str:
    """Return the figures of single contrasts and of whole people in patients."""
    rows, apart = [], []
    gliomas: dict[str, dict[str, Judged]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for cohort in COHORTS:
            out = Path(folder) / cohort
            for subject in segmented(cohort, CONTRASTS, out, shared):
                of = judged_patient(cohort, subject, out, shared)
                summary = person(out, subject)
                cells = [of[c].cells() if c in of else "" for c in (*CONTRASTS, "together")]
                rows.append([f"{cohort} {subject}", *cells, strongest(summary)])
                apart.append([f"{cohort} {subject}", distances(summary)])
                if cohort == "gliomas":
                    gliomas[subject] = of
        for pair in itertools.combinations(CONTRASTS, 2):
            out = Path(folder) / "-".join(pair)
            for subject in segmented("gliomas", pair, out, shared):
                gliomas[subject][" + ".join(pair)] = judged_patient("gliomas", subject, out, shared)["together"]
    columns = ["patient", *(c.upper() for c in CONTRASTS), "together", "person's strongest finding"]
    return (
        PATIENTS
        + table(columns, rows)
        + means(gliomas)
        + APART
        + table(["patient", "scans"], apart)
        + moved_page(shared)
    )


PATIENTS = """
## Patients, the shipped models' defaults

Found / false findings / Dice / oracle Dice / AP.

"""
APART = """
### How far alignments of one person's scans are apart

Median over the brain, mm from the first scan; none where a warning says that an alignment is not sure.

"""
MOVED = f"""
### Headers that disagree

The gliomas again, T2 and FLAIR each turned by up to {MOVED_DEGREES:g} degrees and shifted by up to {MOVED_MM:g} mm along each axis in
their headers alone: found / false findings / Dice / oracle Dice / AP of the person.

"""


def moved_page(shared: Path) -> str:
    """Return the results of the gliomas where the headers of T2 and FLAIR put them elsewhere."""
    rows, met = [], []
    with tempfile.TemporaryDirectory() as folder:
        write_moved(shared / "gliomas", Path(folder) / "gliomas")
        out = Path(folder) / "out"
        for subject in segmented("gliomas", CONTRASTS, out, Path(folder)):
            label = read_output(shared / "gliomas" / f"{subject}_seg.nii.gz").data > 0
            kinds = ("anomaly", "dseg")
            heat, numbers = (read_output(out / f"{subject}_desc-personcombi_{kind}.nii.gz").data for kind in kinds)
            met.append(judged(heat, numbers, label & (heat > 0), heat > 0))
            rows.append([subject, met[-1].cells(), distances(person(out, subject))])
    text = MOVED + table(["patient", "together", "mm from the first scan"], rows)
    return text + f"\nMeans: Dice {interval([one.dice for one in met])}, AP {interval([one.ap for one in met])}.\n"


def write_moved(gliomas: Path, folder: Path) -> None:
    """Write copies of the scans, the T2 and FLAIR with headers that put them elsewhere."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for contrast in CONTRASTS:
        for scan in sorted(gliomas.glob(f"*_{contrast}.nii.gz")):
            image, moved = nib.Nifti1Image.load(scan), np.eye(4)
            if contrast != "t1":
                angle = np.deg2rad(rng.uniform(-MOVED_DEGREES, MOVED_DEGREES))
                moved[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
                moved[:3, 3] = rng.uniform(-MOVED_MM, MOVED_MM, 3)
            copy = nib.Nifti1Image(np.asarray(image.dataobj), moved @ image.affine, image.header)
            copy.set_sform(copy.affine, 1)
            copy.set_qform(copy.affine, 1)
            nib.save(copy, folder / scan.name)


def segmented(cohort: str, contrasts: Sequence[str], out: Path, shared: Path) -> list[str]:
    """Segment these contrasts of a cohort as the command does; return the patients."""
    scans = [scan for c in contrasts for scan in sorted((shared / cohort).glob(f"*_{c}.nii.gz"))]
    options = ScoreOptions(files=Files(segmentation=Segmentation()))
    outcome = score_cohort(scans, out, options, RunOptions(jobs=1))
    assert not outcome.failed, outcome.failed
    return sorted({scan.name.rpartition("_")[0] for scan in scans})


def judged_patient(cohort: str, subject: str, out: Path, shared: Path) -> dict[str, Judged]:
    """Return how each contrast's result and the person's met the lesion; all scans of these patients have one grid."""
    label = read_output(shared / cohort / LABELS[cohort].format(subject=subject)).data > 0
    stems = {c: f"{subject}_{c}_desc-combi" for c in CONTRASTS} | {"together": f"{subject}_desc-personcombi"}
    known = {name: out / stem for name, stem in stems.items() if (out / f"{stem}_anomaly.nii.gz").exists()}
    maps = {name: read_output(Path(f"{place}_anomaly.nii.gz")).data for name, place in known.items()}
    brain = np.logical_or.reduce([values > 0 for values in maps.values()])
    return {
        name: judged(maps[name], read_output(Path(f"{place}_dseg.nii.gz")).data, label & brain, brain)
        for name, place in known.items()
    }


def person(out: Path, subject: str) -> PersonSummary:
    """Return a person's JSON."""
    summary = read_person(out / f"{subject}_desc-person_scores.json")
    assert summary is not None, subject
    return summary


def strongest(summary: PersonSummary) -> str:
    """Return the strongest finding in words."""
    found = summary.masks["combi"].findings
    return found[0].words if found else "none"


def distances(summary: PersonSummary) -> str:
    """Return how far each further scan's alignment is from the first's."""
    return ", ".join(
        f"{scan.contrast} {'none' if scan.off_mm is None else format(scan.off_mm, '.1f')}" for scan in summary.scans[1:]
    )


def means(gliomas: Mapping[str, Mapping[str, Judged]]) -> str:
    """Return the means of the gliomas, and the gain of all contrasts together over each alone, patient by patient."""

    def cells(name: str, less: str | None = None) -> list[str]:
        return [
            interval([getattr(of[name], part) - (getattr(of[less], part) if less else 0) for of in gliomas.values()])
            for part in ("found", "false", "dice", "oracle", "ap")
        ]

    names = [*CONTRASTS, *(" + ".join(pair) for pair in itertools.combinations(CONTRASTS, 2)), "together"]
    rows = [["t1 + t2 + flair" if name == "together" else name, *cells(name)] for name in names]
    rows += [[f"all three less {name}", *cells("together", name)] for name in CONTRASTS]
    return "\n### Gliomas, means\n\n" + table(["", "found", "false findings", "Dice", "oracle Dice", "AP"], rows)
