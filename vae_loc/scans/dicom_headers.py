"""The series of a DICOM folder or zip, described by their headers; the repair of headers.

Names of patients are neither printed nor kept.
"""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.scans.dicom_files import DAMAGED, MAGIC, dicom_contents, dicom_names
from vae_loc.scans.dicom_images import IMAGE_TAGS, MIN_SLICES, straighten, text_of, vector, volumes_of, without_copies
from vae_loc.scans.stated_contrast import STATING, Stated, stated_by_header

if TYPE_CHECKING:
    from pydicom import Dataset

    from vae_loc.scans.dicom_images import Image

RANKING = ("MRAcquisitionType", "SpacingBetweenSlices", "SliceThickness")
GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
HEADER_TAGS = ["SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "PatientName", "PatientID",
               "Rows", "Columns", "NumberOfFrames", *RANKING, *STATING, *IMAGE_TAGS, GROUPS[1]]  # fmt: skip
NEEDED = ("SeriesInstanceUID", "Rows", "Columns", "NumberOfFrames")  # of these, what cannot be guessed
NO_SCANS = ("SEG", "RTDOSE")  # modalities of images that are made of scans; ours too
MR, UNKNOWN_MODALITIES = "MR", ("", "OT")  # modalities of what the models are for, and of what may be it
SHARED_BY_FRAMES = ("PixelMeasuresSequence", "PlaneOrientationSequence")  # of a regular volume
MAY_BE_EMPTY = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID",
                "AccessionNumber", "ReferringPhysicianName")  # fmt: skip
DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
TIME = re.compile(r"([01]\d|2[0-3])([0-5]\d([0-5]\d(\.\d{1,6})?)?)?")
ALLOWED = {"PatientBirthDate": DATE, "StudyDate": DATE, "StudyTime": TIME, "PatientSex": re.compile("[MFO]")}


@dataclass(frozen=True)
class Series:
    """A DICOM series: the files that hold it, below a folder or in a zip, and its description for a person.

    Attributes
    ----------
    modality : MR, CT, PT, ...; empty if none is stated
    stated : what its header states of its contrast
    volume : whether it can be a volume: no localizer, no mosaic
    uid : of the series; where it holds several volumes, with what tells this one apart: `1.2.3#EchoTime=14`
    note : what was left out of it, in words
    rank : by which the best of several is told: without contrast agent, 3-D, thin slices come first
    """

    source: Path
    uid: str
    files: tuple[str, ...]
    described: str
    modality: str = MR
    stated: Stated = field(default_factory=Stated)
    volume: bool = True
    note: str = ""
    rank: tuple[bool, bool, float] = (False, False, 0.0)

    @property
    def base_uid(self) -> str:
        """The series instance UID, without what tells its volumes apart."""
        return self.uid.partition("#")[0]

    def images_of(self, affine: NDArray[np.float64]) -> dict[int, tuple[str, str]]:
        """Return InstanceNumber, or number of the frame, and SOPInstanceUID by slice k of the scan of this affine."""
        images, to_voxel = {}, np.linalg.inv(affine)
        for name, content in dicom_contents(self.source, self.files):
            header = parsed(self.source, name, content, header_only=True)
            places = [(text_of(header, "InstanceNumber"), header)]
            for frame_number, frame in enumerate(header.get(GROUPS[1]) or (), 1):
                places += [(str(frame_number), place) for place in getattr(frame, "PlanePositionSequence", ())]
            for number, place in places:
                x, y, z = vector(place, "ImagePositionPatient", 3)
                if np.isfinite([x, y, z]).all():
                    images[round((to_voxel @ [-x, -y, z, 1])[2])] = number, text_of(header, "SOPInstanceUID")
        return images

    def datasets(self) -> list[Dataset]:
        """Read every file of the series whole, with one frame of reference, and geometry that is not rounded.

        Raises
        ------
        UnusableInput : if one is damaged.
        """
        from pydicom.uid import generate_uid

        contents = dicom_contents(self.source, self.files)
        images = [parsed(self.source, name, content) for name, content in contents]
        uid = self.base_uid
        for image in images:
            image.SeriesInstanceUID = uid
            if not image.get("FrameOfReferenceUID"):
                image.FrameOfReferenceUID = generate_uid(entropy_srcs=["vae-loc", uid])
        if len(images) > 1:
            straighten(images)
        return images


def all_series(source: Path) -> list[Series]:
    """Return the image series of a folder or zip, those first that can be an MR volume.

    Raises
    ------
    UnusableInput : if a header cannot be read.
    """
    if sys.modules.get("pydicom", sys) is None:  # kept from nibabel by the command line
        del sys.modules["pydicom"]
    if find_spec("highdicom") is None:
        raise UnusableInput(source, "DICOM needs more packages: pip install 'vae-loc[dicom]'")
    headers: dict[str, list[tuple[str, Dataset]]] = {}
    for name, content in dicom_contents(source, dicom_names(source), head_only=True):
        header = parsed(source, name, content, header_only=True)
        if "Rows" in header and "SeriesInstanceUID" in header and header.get("Modality") not in NO_SCANS:
            headers.setdefault(str(header.SeriesInstanceUID), []).append((name, header))
    series = []
    for uid, images in _joined(headers).items():
        volumes, odd = volumes_of(without_copies(images))
        note = f"left out {', '.join(name for name, _ in odd)}: another plane than the series'" if odd else ""
        series += [_series(source, f"{uid}#{of}" if of else uid, part, note) for of, part in volumes.items()]
    return sorted(series, key=lambda one: (one.modality != MR, not one.volume, one.stated.contrast is None, one.uid))


def damaged() -> tuple[type[Exception], ...]:
    """Return the exceptions of pydicom and highdicom for damaged files."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (*DAMAGED, BytesLengthException, InvalidDicomError)


def parsed(source: Path, name: str, content: io.BytesIO, *, header_only: bool = False) -> Dataset:
    """Return a DICOM file of a source.

    Raises
    ------
    UnusableInput : if it is damaged.
    """
    from pydicom import dcmread
    from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

    tags = list(HEADER_TAGS) if header_only else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values, which may name the patient
            bare = not content.getbuffer()[:132].tobytes().endswith(MAGIC)  # a file without preamble
            dataset = dcmread(content, force=bare, stop_before_pixels=header_only, specific_tags=tags)
            if "TransferSyntaxUID" not in dataset.file_meta:
                implicit = dataset.original_encoding[0]
                dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
            # a value is decoded when it is first asked for; one that cannot be is left out if it is not needed
            for tag in tags or ():
                try:
                    dataset.get(tag)
                except damaged():
                    if tag in NEEDED:
                        raise
                    delattr(dataset, tag)
            return dataset
    except damaged() as error:
        raise UnusableInput(source, f"{name} is a damaged DICOM file; export it again") from error


def whole_number(source: Path, name: str, header: Dataset, attribute: str) -> int:
    """Return an attribute that must be one whole number above 0; 1 if it is missing.

    Raises
    ------
    UnusableInput : naming the file and the attribute.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values
            value = header.get(attribute)
        number = 1 if value is None or value == "" else int(value)
        if number < 1:
            raise ValueError(attribute)
        return number
    except damaged() as error:
        needed = f"{name}: expected one whole number above 0 as {attribute}"
        raise UnusableInput(source, f"{needed}, found something else; export it again") from error


def _joined(headers: dict[str, list[Image]]) -> dict[str, list[Image]]:
    """Return the images by series; those that each have a UID of their own, as Canon exports them, are one series."""
    joined: dict[str, list[Image]] = {}
    first: dict[tuple[str, ...], str] = {}
    for uid, images in headers.items():
        single = len(images) == 1 and text_of(images[0][1], "NumberOfFrames") in ("", "1")
        key = tuple(text_of(images[0][1], tag) for tag in ("SeriesNumber", "SeriesDescription", "Rows", "Columns"))
        joined.setdefault(first.setdefault(key, uid) if single else uid, []).extend(images)
    return joined


def _series(source: Path, uid: str, files: Sequence[Image], note: str) -> Series:
    name, first = files[0]
    frames = sum(whole_number(source, each, header, "NumberOfFrames") for each, header in files)
    rows, columns = (whole_number(source, name, first, attribute) for attribute in ("Rows", "Columns"))
    kinds, modality = text_of(first, "ImageType").upper(), text_of(first, "Modality")
    # the description, unless it may name the patient
    names = re.split(r"[\s^,]+", f"{text_of(first, 'PatientName')} {text_of(first, 'PatientID')}".lower())
    description = text_of(first, "SeriesDescription")
    description = "" if any(part in description.lower() for part in names if len(part) > 1) else description
    number = f"number {first.SeriesNumber}, " if first.get("SeriesNumber") is not None else ""
    odd = next((f", {kind.lower()}" for kind in ("LOCALIZER", "MOSAIC") if kind in kinds), "")
    described = f"{number}{modality or '?'}, {frames} x {rows} x {columns}{odd}" + (description and f", {description}")
    volume = not odd and frames >= MIN_SLICES
    stated = stated_by_header({name: text_of(first, name) for name in STATING}, description)
    thick_mm = (float(vector(first, name, 1)[0]) for name in ("SpacingBetweenSlices", "SliceThickness"))
    plane = text_of(first, "MRAcquisitionType") != "3D"
    rank = (stated.agent is not None, plane, next((mm for mm in thick_mm if mm > 0), np.inf))
    return Series(source, uid, tuple(name for name, _ in files), described, modality, stated, volume, note, rank)


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
    # enhanced series that state for each frame what all frames share, as Siemens XA does
    for shared, frame in zip(*(list(image.get(groups, []))[:1] for groups in GROUPS), strict=False):
        for name in SHARED_BY_FRAMES:
            if name not in shared and name in frame:
                setattr(shared, name, getattr(frame, name))
    return tuple(emptied)
