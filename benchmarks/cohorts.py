"""The shared cohorts: which scans they have, and how their annotations are named."""

from __future__ import annotations

from pathlib import Path

from vae_loc.scans.cases import Case, find_cases

CONTRASTS = ("t1", "t2", "flair")
LABELS = {  # folder of patients -> annotation of a subject
    "gliomas": "{subject}_seg.nii.gz",
    "ms": "{subject}_lesions.nii.gz",
    "ms_tabriz": "{subject}_seg.nii.gz",
    "ms_insights": "{subject}_lesions.nii.gz",
    "stroke": "{subject}_lesions.nii.gz",
}


def cases_in(folder: Path, contrast: str) -> list[Case]:
    """Return the scans of a contrast in a folder."""
    return [case for file in sorted(folder.glob(f"*_{contrast}.nii.gz")) for case in find_cases([file])]


def reference_cases(shared: Path) -> list[Case]:
    """Return the healthy scans of a second scanner, from which no network learned."""
    return find_cases([shared / "ds002748"])


def site_cases(contrast: str, shared: Path) -> list[Case]:
    """Return the real healthy scans on which a shipped model is calibrated: T2 on ds011."""
    return cases_in(shared / "ds011", contrast)


def ordinary_cases(contrast: str, shared: Path) -> list[tuple[Case, Path | None]]:
    """Return the scans of patients on which a shipped model is calibrated, with the annotations of their lesions."""
    return [
        (case, shared / folder / LABELS[folder].format(subject=case.subject))
        for folder in ("ms", "ms_tabriz", "ms_insights", "stroke")
        for case in cases_in(shared / folder, contrast)
    ]
