"""The series of a DICOM folder or zip: what each is, by its headers, and which one is meant.

Names of patients are neither printed nor kept.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vae_loc.errors import UnusableInput, printable
from vae_loc.scans.dicom_files import DAMAGED, dicom_contents, dicom_names
from vae_loc.scans.dicom_repair import placed

if TYPE_CHECKING:
    from pydicom import Dataset

HEADER_TAGS = ["SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "PatientName", "PatientID",
               "Rows", "Columns", "NumberOfFrames", "ImageType"]  # fmt: skip
NEEDED = ("SeriesInstanceUID", "Rows", "Columns", "NumberOfFrames")  # of these, what cannot be guessed
NO_SCANS = ("SEG", "RTDOSE")  # modalities of images that are made of scans; ours too
MR, UNKNOWN_MODALITIES = "MR", ("", "OT")  # modalities of what the models are for, and of what may be it
MIN_SLICES = 5  # of a volume; a localizer has fewer of a kind
MAX_LISTED = 100  # series
NAMED_CONTRASTS = (("t1", r"t1(?!rho)|mp-?rage|bravo|f?spgr|\btfe\b|vibe"), ("flair", r"flair|dark.?fluid"),
             ("t2", r"t2(?![*]|.?star)"))  # fmt: skip


@dataclass(frozen=True)
class Series:
    """A DICOM series: the files that hold it, below a folder or in a zip, and how a person tells it from others.

    Attributes
    ----------
    modality : MR, CT, PT, ...; empty if none is stated
    contrast : t1, t2 or flair, as the description says; None if it says none
    volume : whether it can be a volume: no localizer, no mosaic
    """

    source: Path
    uid: str
    files: tuple[str, ...]
    described: str
    modality: str = MR
    contrast: str | None = None
    volume: bool = True

    def datasets(self) -> list[Dataset]:
        """Read every file of the series whole.

        Raises
        ------
        UnusableInput : if one is damaged.
        """
        contents = dicom_contents(self.source, self.files)
        return [placed(parsed(self.source, name, content)) for name, content in contents]


def series_of(source: Path, wanted: str | None = None, *, contrast: str | None = None) -> Series:
    """Return the one MR volume of a folder or zip, or the one of a contrast, or the series `wanted`.

    Other series are logged, as a table, if there are several to choose from.

    Raises
    ------
    UnusableInput : if there is none, or there are several and none is chosen.
    """
    series = all_series(source)
    if not series:
        raise UnusableInput(source, "expected a DICOM series of images, found none")
    if wanted is not None:
        chosen = [one for one in series if one.uid == wanted]
    else:
        chosen = [one for one in series if one.volume and one.modality in (MR, *UNKNOWN_MODALITIES)] or series
        chosen = [one for one in chosen if one.contrast == contrast] or chosen if contrast else chosen
    if len(chosen) == 1:
        if len(series) > 1 and wanted is None:
            said = f"{source}: of {len(series)} series the only one that fits was taken: {chosen[0].described}"
            logging.getLogger(__name__).warning(printable(said))
        return chosen[0]
    _log_table(series)
    if wanted is not None:
        raise UnusableInput(source, f"holds no series {wanted}; it holds {len(series)} others, listed above")
    raise UnusableInput(
        source,
        f"expected one series, found {len(chosen)}; choose one with --series, or by --contrast: they are listed above",
    )


def all_series(source: Path) -> list[Series]:
    """Return the image series of a folder or zip, those first that can be an MR volume.

    Raises
    ------
    UnusableInput : if a header cannot be read.
    """
    _require_readers(source)
    headers: dict[str, list[tuple[str, Dataset]]] = {}
    for name, content in dicom_contents(source, dicom_names(source), head_only=True):
        header = parsed(source, name, content, header_only=True)
        if "Rows" in header and "SeriesInstanceUID" in header and header.get("Modality") not in NO_SCANS:
            headers.setdefault(str(header.SeriesInstanceUID), []).append((name, header))
    series = [_series(source, uid, files) for uid, files in headers.items()]
    return sorted(series, key=lambda one: (one.modality != MR, not one.volume, one.contrast is None, one.uid))


def contrast_of_description(text: str) -> str | None:
    """Return the contrast that a series description names, or None.

    >>> [contrast_of_description(text) for text in ("t1_mprage_sag", "AX T2 FLAIR", "T1 FLAIR", "t2_tse", "t2*_gre")]
    ['t1', 'flair', 't1', 't2', None]
    """
    return next((name for name, pattern in NAMED_CONTRASTS if re.search(pattern, text.lower().replace("_", " "))), None)


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

    tags = list(HEADER_TAGS) if header_only else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values, which may name the patient
            dataset = dcmread(content, stop_before_pixels=header_only, specific_tags=tags)
            return _decoded(dataset) if header_only else dataset
    except damaged() as error:
        raise UnusableInput(source, f"{name} is a damaged DICOM file; export it again") from error


def _decoded(header: Dataset) -> Dataset:
    """Return a header whose values are decoded, without those that cannot be and are not needed."""
    for tag in HEADER_TAGS:
        try:
            header.get(tag)
        except damaged():
            if tag in NEEDED:
                raise
            delattr(header, tag)
    return header


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
        raise UnusableInput(
            source, f"{name}: expected one whole number above 0 as {attribute}, found something else; export it again"
        ) from error


def _series(source: Path, uid: str, files: Sequence[tuple[str, Dataset]]) -> Series:
    name, first = files[0]
    frames = sum(whole_number(source, each, header, "NumberOfFrames") for each, header in files)
    rows, columns = (whole_number(source, name, first, attribute) for attribute in ("Rows", "Columns"))
    kinds = str(first.get("ImageType", "") or "").upper()
    modality = str(first.get("Modality", "") or "")
    description = _description(first)
    number = f"number {first.SeriesNumber}, " if first.get("SeriesNumber") is not None else ""
    odd = next((f", {kind.lower()}" for kind in ("LOCALIZER", "MOSAIC") if kind in kinds), "")
    described = f"{number}{modality or '?'}, {frames} x {rows} x {columns}{odd}" + (description and f", {description}")
    volume = not odd and frames >= MIN_SLICES
    contrast = contrast_of_description(description)
    return Series(source, uid, tuple(name for name, _ in files), described, modality, contrast, volume)


def _description(header: Dataset) -> str:
    """Return the series description, unless it may name the patient."""
    text = str(header.get("SeriesDescription", "") or "")
    private = " ".join(str(header.get(name, "") or "") for name in ("PatientName", "PatientID"))
    parts = [part.lower() for part in private.replace("^", " ").replace(",", " ").split() if len(part) > 1]
    return "" if any(part in text.lower() for part in parts) else text


def _log_table(series: Sequence[Series]) -> None:
    """Log one line for each series: its UID, contrast and what else it is."""
    width = max(len(one.uid) for one in series)
    for one in series[:MAX_LISTED]:
        line = f"{one.uid:<{width}}  {one.contrast or '?':<5}  {one.described}"
        logging.getLogger(__name__).error(printable(line))
    if len(series) > MAX_LISTED:
        logging.getLogger(__name__).error("and %d more", len(series) - MAX_LISTED)


def _require_readers(source: Path) -> None:
    from importlib.util import find_spec

    if sys.modules.get("pydicom", sys) is None:  # kept from nibabel by the command line
        del sys.modules["pydicom"]
    if find_spec("highdicom") is None:
        raise UnusableInput(source, "DICOM needs more packages: pip install 'vae-loc[dicom]'")
