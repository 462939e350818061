"""DICOM images as anonymisers leave them -> images that a DICOM Segmentation can refer to.

Values that the standard does not allow are emptied and what it demands is added, empty, in memory: no file changes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydicom import Dataset

MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
ALLOWED = {
    "PatientBirthDate": DATE,
    "StudyDate": DATE,
    "StudyTime": TIME,
    "PatientSex": re.compile("[MFO]"),
}


def repaired(image: Dataset, thickness_mm: float) -> tuple[str, ...]:
    """Empty what is not allowed and add what is missing, in place; return the names of values that were emptied."""
    emptied = []
    for name in MAY_BE_EMPTY:
        value = str(image.get(name, "") or "")
        if name in ALLOWED and value and not ALLOWED[name].fullmatch(value.strip()):
            emptied.append(name)
            value = ""
        if not value:
            setattr(image, name, "")
    if not image.get("SliceThickness") and "PerFrameFunctionalGroupsSequence" not in image:
        image.SliceThickness = f"{thickness_mm:.6g}"
    return tuple(emptied)


def placed(image: Dataset) -> Dataset:
    """Return an image in a frame of reference: its own, else one that stands for its series."""
    if not image.get("FrameOfReferenceUID"):
        from pydicom.uid import generate_uid

        image.FrameOfReferenceUID = generate_uid(entropy_srcs=["vae-loc", str(image.get("SeriesInstanceUID", ""))])
    return image
