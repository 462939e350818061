"""DICOM series in a folder or zip -> a NIfTI scan, whose geometry nibabel then reads as any other's.

Names of patients are neither printed nor written.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel as nib
import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.scans.cases import NIFTI_SUFFIXES, PAIR_SUFFIXES, Case, contrast_of, log_left_out, unique_names
from vae_loc.scans.dicom_files import dicom_names, has_magic
from vae_loc.scans.dicom_headers import GROUPS, MR, UNKNOWN_MODALITIES, Series, damaged, whole_number
from vae_loc.scans.dicom_images import clean, uneven
from vae_loc.scans.dicom_study import best_series
from vae_loc.scans.nifti import MAX_VOXELS
from vae_loc.system.reading import opened
from vae_loc.system.writing import write_atomically

if TYPE_CHECKING:
    from highdicom import Volume as DicomVolume

INT16 = np.iinfo(np.int16)


@dataclass(frozen=True)
class Converted:
    """Paths with the scan instead of each DICOM series; which series became which scan, or why it did not.

    `written` are the scans that were not there before, and `folder` the folder that was not.
    """

    paths: list[Path]
    series: dict[Path, Series]
    faults: dict[Path, UnusableInput]
    written: list[Path] = field(default_factory=list)
    folder: Path | None = None

    def with_header(self, case: Case, asked: str | None) -> Case:
        """Return a case with the statements of its series' header, and its contrast unless asked for or named."""
        series = self.series.get(case.scan)
        if series is None:
            return case
        contrast = None if asked or contrast_of(case.scan) else series.stated.contrast
        return replace(case, contrast=case.contrast or contrast, header=series.stated)

    def fail(self, scan: Path, error: UnusableInput) -> None:
        """Note why a series did not become a scan."""
        self.paths.append(scan)
        self.faults[scan] = error

    def remove(self, scans: Sequence[Path]) -> None:
        """Remove those of some scans that were written, and the folder if that leaves it empty."""
        for scan in scans:
            if scan in self.written:
                scan.unlink(missing_ok=True)
        if self.folder is not None and os.path.isdir(self.folder) and not os.listdir(self.folder):
            os.rmdir(self.folder)


def is_dicom(source: Path) -> bool:
    """Return whether a source is a zip, a DICOM file, or a folder without NIfTI scans with a DICOM file below it."""
    if os.path.isdir(source):  # which, unlike pathlib, takes any name
        try:
            if any(name.lower().endswith(NIFTI_SUFFIXES + PAIR_SUFFIXES) for name in os.listdir(source)):
                return False
            return any(has_magic(source / name) for name in dicom_names(source))
        except OSError:  # the reader of the folder reports why it cannot be read
            return False
    return source.name.lower().endswith(".zip") or has_magic(source)


def convert_dicom(
    sources: Sequence[Path],
    folder: Path,
    *,
    wanted: str | None = None,
    contrast: str | None = None,
    force: bool = False,
) -> Converted:
    """Write the DICOM series among `sources` as NIfTI into `folder`, named like their folder or zip.

    Of a study with several contrasts the best series of each is written, whose name ends in the contrast.

    Parameters
    ----------
    wanted : series instance UID, where a source holds several series
    contrast : which contrast is wanted, where a source holds several series and none is `wanted`
    force : whether a series of another modality than MR is converted
    """
    names_of = {}
    for source in filter(is_dicom, sources):
        path = Path(os.path.abspath(source))  # of a folder the whole name, of a file what stands before its ending
        names_of[source] = path.with_name(f"{path.name if path.is_dir() else path.stem}.nii")
    names = unique_names(list(names_of.values()))
    done = Converted([], {}, {}, folder=None if os.path.lexists(folder) else folder)
    for source in sources:
        if source not in names_of:
            done.paths.append(source)
            continue
        name = folder / names[names_of[source]]
        try:
            chosen = best_series(source, wanted, contrast=contrast)
        except UnusableInput as error:
            done.fail(name.with_name(f"{name.name}.nii.gz"), error)
            continue
        nifti = [name for name in dicom_names(source) if name.lower().endswith(NIFTI_SUFFIXES + PAIR_SUFFIXES)]
        log_left_out(source, nifti, "NIfTI files lie among the DICOM files: left out; name them to score them")
        for series in chosen:
            part = f"_{series.stated.contrast}" if len(chosen) > 1 else ""
            _convert(done, name.with_name(f"{name.name}{part}.nii.gz"), series, force=force)
    return done


def _convert(done: Converted, scan: Path, series: Series, *, force: bool) -> None:
    """Write one series as NIfTI, and note that, or why it cannot be."""
    try:
        if not force and series.modality not in (MR, *UNKNOWN_MODALITIES):
            said = f"expected an MR series, its modality is {series.modality}; the models are for MRI"
            raise UnusableInput(series.source, f"{said}, --force scores it")
        if _write_once(scan, nifti_bytes(series)):
            done.written.append(scan)
    except UnusableInput as error:
        done.fail(scan, error)
        return
    done.paths.append(scan)
    done.series[scan] = series


def dicom_volume(series: Series) -> DicomVolume:
    """Return the series as highdicom reads it: array (slice, row, column), affine to LPS.

    Raises
    ------
    UnusableInput : if its slices are not parallel, aligned, evenly spaced and each there once, or it has no contrast.
    """
    import highdicom as hd

    datasets, at = series.datasets(), ""
    first, name = datasets[0], series.files[0]
    rows, columns, frames = (
        whole_number(series.source, name, first, attribute) for attribute in ("Rows", "Columns", "NumberOfFrames")
    )
    frames *= len(datasets)
    if rows * columns * frames > MAX_VOXELS:
        raise UnusableInput(series.source, f"expected at most {MAX_VOXELS} voxels, its headers promise more")
    if "MOSAIC" in str(first.get("ImageType", "")).upper():
        raise UnusableInput(series.source, "is a mosaic, several slices in one picture; export it as single slices")
    try:
        # rescale slopes are stated for all frames, or for each
        groups = [part for image in datasets for name in GROUPS for part in image.get(name, [])]
        scales = [*datasets, *(part for of in groups for part in of.get("PixelValueTransformationSequence", []))]
        if any(float(of.RescaleSlope) == 0 for of in scales if of.get("RescaleSlope") is not None):
            raise UnusableInput(series.source, "expected intensities, its rescale slope is 0; export it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values, which may name the patient
            for name, image in zip(series.files, datasets, strict=True):
                at = f" in {name}"
                clean(image)
            at = ""
            if len(datasets) == 1 and frames > 1:
                return hd.Image.from_dataset(first).get_volume(apply_real_world_transform=False)
            return hd.get_volume_from_series(datasets, apply_real_world_transform=False)
    except damaged() as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        if absent := re.search(r"has no attribute '([A-Z]\w+)'", reason):
            reason = f"a header states no {absent[1]}"
        where = at or uneven(datasets, series.files)
        found = f"series {series.uid} is no regular volume of {frames} slices: {reason}{where}"
        raise UnusableInput(series.source, found) from error


def nifti_bytes(series: Series) -> bytes:
    """Return the series as a gzipped NIfTI: (column, row, slice), int16 where that is exact, else float32.

    The header holds geometry and nothing else. The same series gives the same bytes.
    """
    from isal import igzip

    # pydicom's and highdicom's, at odd headers: a value is parsed when it is first asked for
    faults: tuple[type[Exception], ...] = (RecursionError, ArithmeticError, AssertionError, *damaged())
    try:
        volume = dicom_volume(series)
    except faults as error:
        raise UnusableInput(series.source, f"series {series.uid} is damaged ({type(error).__name__})") from error
    if volume.array.ndim != 3:
        raise UnusableInput(series.source, "expected one grey value a voxel, found colour; choose another series")
    turned = volume.permute_spatial_axes((2, 1, 0))
    data = np.asarray(turned.array)
    exact = bool(np.all((data == np.round(data)) & (data >= INT16.min) & (data <= INT16.max)))
    image = nib.Nifti1Image(data.astype(np.int16 if exact else np.float32), turned.get_affine("RAS"))
    image.set_sform(image.affine, code="scanner")
    image.set_qform(image.affine, code="scanner")
    image.header.set_xyzt_units("mm")
    return igzip.compress(image.to_bytes(), compresslevel=2, mtime=0)


def _write_once(path: Path, content: bytes) -> bool:
    """Write a file unless it is there already, never over another one; return whether it was not there."""
    if not os.path.lexists(path):
        write_atomically(path, content)
        return True
    with opened(path, "a scan") as file:
        if file.read(len(content) + 1) != content:
            raise UnusableInput(path, "is there already and is not this series; choose another folder with -o")
    return False
