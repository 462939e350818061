"""DICOM series in a folder or zip -> a NIfTI scan, whose geometry nibabel then reads as any other's.

Names of patients are neither printed nor written.
"""

from __future__ import annotations

import io
import os
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.scans.cases import unique_names
from vae_loc.scans.dicom_files import DAMAGED, dicom_contents, dicom_names, has_magic, has_nifti
from vae_loc.scans.nifti import MAX_VOXELS
from vae_loc.system.reading import opened
from vae_loc.system.writing import write_atomically

if TYPE_CHECKING:
    from highdicom import Volume as DicomVolume
    from pydicom import Dataset

HEADER_TAGS = ["SeriesInstanceUID", "Modality", "SeriesNumber", "SeriesDescription", "PatientName", "PatientID",
               "Rows", "Columns", "NumberOfFrames"]  # fmt: skip
NO_SCANS = ("SEG", "RTDOSE")  # modalities of images that are made of scans; ours too
INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Series:
    """A DICOM series: the files that hold it, below a folder or in a zip, and how a person tells it from others."""

    place: Path
    uid: str
    files: tuple[str, ...]
    described: str

    def datasets(self) -> list[Dataset]:
        """Read every file of the series whole.

        Raises
        ------
        UnusableInput : if one is damaged.
        """
        return [_parsed(self.place, name, content) for name, content in dicom_contents(self.place, self.files)]


@dataclass(frozen=True)
class Converted:
    """Places with the scan instead of each DICOM series; which series became which scan, or why it did not."""

    places: list[Path]
    series: dict[Path, Series]
    faults: dict[Path, UnusableInput]


def is_dicom(place: Path) -> bool:
    """Tell whether a place is a zip, a DICOM file, or a folder without NIfTI scans with a DICOM file below it."""
    if os.path.isdir(place):  # which, unlike pathlib, takes any name
        try:
            return not has_nifti(place) and any(has_magic(place / name) for name in dicom_names(place))
        except OSError:  # who reads the folder for scans says why it cannot be read
            return False
    return place.name.lower().endswith(".zip") or has_magic(place)


def convert_dicom(places: Sequence[Path], folder: Path, *, wanted: str | None = None) -> Converted:
    """Write the DICOM series among `places` as NIfTI into `folder`, named like their folder or zip.

    Parameters
    ----------
    wanted : series instance UID, where a place holds several series
    """
    names_of = {place: _named(Path(os.path.abspath(place))) for place in places if is_dicom(place)}
    names = unique_names(list(names_of.values()))
    done = Converted([], {}, {})
    for place in places:
        if place not in names_of:
            done.places.append(place)
            continue
        scan = folder / f"{names[names_of[place]]}.nii.gz"
        done.places.append(scan)
        try:
            series = series_of(place, wanted)
            _write_once(scan, nifti_bytes(series))
            done.series[scan] = series
        except UnusableInput as error:
            done.faults[scan] = error
    return done


def series_of(place: Path, wanted: str | None = None) -> Series:
    """Return the one image series of a folder or zip, or the one `wanted`.

    Raises
    ------
    UnusableInput : if there is none, or there are several and none is chosen; they are listed then.
    """
    _require_readers(place)
    headers: dict[str, list[tuple[str, Dataset]]] = {}
    for name, content in dicom_contents(place, dicom_names(place), head_only=True):
        header = _parsed(place, name, content, header_only=True)
        if "Rows" in header and "SeriesInstanceUID" in header and header.get("Modality") not in NO_SCANS:
            headers.setdefault(str(header.SeriesInstanceUID), []).append((name, header))
    series = {uid: _series(place, uid, files) for uid, files in headers.items()}
    if wanted in series:
        return series[wanted]
    listed = "; ".join(f"{one.uid} ({one.described})" for one in series.values())
    if not series:
        raise UnusableInput(place, "expected a DICOM series of images, found none")
    if wanted is not None:
        raise UnusableInput(place, f"holds no series {wanted}; it holds {listed}")
    if len(series) > 1:
        raise UnusableInput(place, f"expected one series, found {len(series)}; choose one with --series: {listed}")
    return next(iter(series.values()))


def volume_of(series: Series) -> DicomVolume:
    """Return the series as highdicom reads it: array (slice, row, column), affine to LPS.

    Raises
    ------
    UnusableInput : if its slices are not parallel, aligned, evenly spaced and each there once.
    """
    import highdicom as hd

    datasets = series.datasets()
    first = datasets[0]
    frames = len(datasets) * int(first.get("NumberOfFrames", 1) or 1)
    if int(first.Rows) * int(first.Columns) * frames > MAX_VOXELS:
        raise UnusableInput(series.place, f"expected at most {MAX_VOXELS} voxels, its headers promise more")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values, which may name the patient
            if len(datasets) == 1 and frames > 1:
                return hd.Image.from_dataset(first).get_volume(apply_real_world_transform=False)
            return hd.get_volume_from_series(datasets, apply_real_world_transform=False)
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnusableInput(
            series.place, f"series {series.uid} is no regular volume of {frames} slices: {reason}"
        ) from error


def nifti_bytes(series: Series) -> bytes:
    """Return the series as a gzipped NIfTI: (column, row, slice), int16 where that is exact, else float32.

    The header holds geometry and nothing else. The same series gives the same bytes.
    """
    from isal import igzip

    volume = volume_of(series)
    if volume.array.ndim != 3:
        raise UnusableInput(series.place, "expected one grey value a voxel, found colour; choose another series")
    turned = volume.permute_spatial_axes((2, 1, 0))
    data = np.asarray(turned.array)
    exact = bool(np.all((data == np.round(data)) & (data >= INT16.min) & (data <= INT16.max)))
    image = nib.Nifti1Image(data.astype(np.int16 if exact else np.float32), turned.get_affine("RAS"))
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return igzip.compress(image.to_bytes(), compresslevel=2, mtime=0)


def _named(place: Path) -> Path:
    """Return the scan's name beside its series: of a folder the whole name, of a file what stands before its ending."""
    return place.with_name(f"{place.name if place.is_dir() else place.stem}.nii")


def _series(place: Path, uid: str, files: Sequence[tuple[str, Dataset]]) -> Series:
    first = files[0][1]
    frames = sum(int(header.get("NumberOfFrames", 1) or 1) for _, header in files)
    number = f"number {first.SeriesNumber}, " if first.get("SeriesNumber") is not None else ""
    described = f"{number}{first.get('Modality', '?')}, {frames} x {first.Rows} x {first.Columns}"
    return Series(place, uid, tuple(name for name, _ in files), described + _description(first))


def _description(header: Dataset) -> str:
    """Return the series description, unless it may name the patient."""
    text = str(header.get("SeriesDescription", "") or "")
    private = " ".join(str(header.get(name, "") or "") for name in ("PatientName", "PatientID"))
    parts = [part.lower() for part in private.replace("^", " ").replace(",", " ").split() if len(part) > 1]
    return f", {text}" if text and not any(part in text.lower() for part in parts) else ""


def _write_once(path: Path, content: bytes) -> None:
    """Write a file unless it is there already; never over another one."""
    if not os.path.lexists(path):
        write_atomically(path, content)
        return
    with opened(path, "a scan") as file:
        if file.read(len(content) + 1) != content:
            raise UnusableInput(path, "is there already and is not this series; choose another folder with -o")


def _parsed(place: Path, name: str, content: io.BytesIO, *, header_only: bool = False) -> Dataset:
    from pydicom import dcmread

    tags = list(HEADER_TAGS) if header_only else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values, which may name the patient
            return dcmread(content, stop_before_pixels=header_only, specific_tags=tags)
    except DAMAGED as error:
        raise UnusableInput(place, f"{name} is a damaged DICOM file; export it again") from error


def _require_readers(place: Path) -> None:
    from importlib.util import find_spec

    if sys.modules.get("pydicom", sys) is None:  # kept from nibabel by the command line
        del sys.modules["pydicom"]
    if find_spec("highdicom") is None:
        raise UnusableInput(place, "DICOM needs more packages: pip install 'vae-loc[dicom]'")
