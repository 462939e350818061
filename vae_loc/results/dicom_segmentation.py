"""A mask on a converted scan's grid -> a DICOM Segmentation that refers to the source series."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.scans.dicom_files import DAMAGED
from vae_loc.scans.dicom_series import Series, volume_of
from vae_loc.scans.volume import read_labels, read_volume, stem
from vae_loc.system.versions import own_version
from vae_loc.system.writing import write_atomically
from vae_loc.vocabulary import BoolArray

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

SERIES_NUMBER = 900  # beyond what scanners count to
MANUFACTURER, MODEL_NAME, SERIAL_NUMBER = "vae-loc", "vae-loc", "1"  # the standard demands all three
SERIES_DESCRIPTION = "vae-loc anomaly mask, research use only"


def write_segmentation(mask_file: Path, scan: Path, series: Series) -> Path:
    """Write `<mask>.dcm` beside a mask: binary, one segment, on the frames of the source series.

    Parameters
    ----------
    mask_file : the mask that `segment` wrote
    scan : the NIfTI that the series was converted to

    Patient and study are those of the source series, so that an archive files it there.

    Raises
    ------
    UnusableInput : if the mask is not on the scan's grid, or the series cannot be referred to.
    """
    mask, _ = read_labels(mask_file, read_volume(scan))
    path = mask_file.with_name(f"{stem(mask_file)}.dcm")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values, which may name the patient
            write_atomically(path, _segmentation_bytes(mask, series))
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnusableInput(series.place, f"no DICOM Segmentation can refer to this series: {reason}") from error
    return path


def _segmentation_bytes(mask: BoolArray, series: Series) -> bytes:
    """Return a DICOM Segmentation of a mask (column, row, slice)."""
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian

    source = volume_of(series)
    segmentation = hd.seg.Segmentation(
        source_images=series.datasets(),
        pixel_array=source.with_array(np.transpose(mask, (2, 1, 0)).astype(np.uint8)),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_anomaly()],
        series_instance_uid=hd.UID(),
        series_number=SERIES_NUMBER,
        sop_instance_uid=hd.UID(),
        instance_number=1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=own_version(),
        device_serial_number=SERIAL_NUMBER,
        content_label="ANOMALY",
        content_description=SERIES_DESCRIPTION,
        series_description=SERIES_DESCRIPTION,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        omit_empty_frames=bool(mask.any()),
    )
    buffer = io.BytesIO()
    segmentation.save_as(buffer)
    return buffer.getvalue()


def _anomaly() -> SegmentDescription:
    """Return what the segment is: an abnormal structure, found by an algorithm; not a diagnosis."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    return hd.seg.SegmentDescription(
        segment_number=1,
        segment_label="anomaly",
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="vae-loc", version=own_version(), family=codes.DCM.ArtificialIntelligence
        ),
    )
