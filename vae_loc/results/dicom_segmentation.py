"""A numbered mask on a converted scan's grid -> a DICOM Segmentation of the source series, one segment per finding."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.scans.dicom_files import DAMAGED
from vae_loc.scans.dicom_headers import Series, repaired
from vae_loc.scans.dicom_series import dicom_volume
from vae_loc.scans.volume import read_numbers, read_volume, stem
from vae_loc.scoring.finding_model import Finding
from vae_loc.system.versions import own_version
from vae_loc.system.writing import write_atomically

if TYPE_CHECKING:
    from highdicom import Volume
    from highdicom.seg import Segmentation, SegmentDescription
    from pydicom import Dataset

SERIES_NUMBER = 900  # beyond what scanners count to
MANUFACTURER, MODEL_NAME, SERIAL_NUMBER = "vae-loc", "vae-loc", "1"  # the standard demands all three
SERIES_DESCRIPTION = "vae-loc anomaly mask, research use only"


def write_segmentation(
    mask_file: Path, findings: Sequence[Finding], scan: Path, series: Series
) -> tuple[Path, tuple[str, ...]]:
    """Write `<mask>.dcm` beside a numbered mask: binary, one segment per finding, on the frames of the source series.

    Return its path, and the names of what the source series states in a way that is not allowed and was left empty.

    Parameters
    ----------
    mask_file : the numbered mask that `segment` wrote
    findings : in the order of their numbers; without any, there is one empty segment
    scan : the NIfTI that the series was converted to

    Patient and study are those of the source series, so that an archive files it there.

    Raises
    ------
    UnusableInput : if the mask is not on the scan's grid, or the series cannot be referred to.
    """
    numbers = read_numbers(mask_file, read_volume(scan))
    path = mask_file.with_name(f"{stem(mask_file)}.dcm")
    content = io.BytesIO()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote values, which may name the patient
            source, images = dicom_volume(series), series.datasets()
            thickness_mm = float(source.spacing[0])
            emptied = {name for image in images for name in repaired(image, thickness_mm)}
            array = source.with_array(np.transpose(numbers, (2, 1, 0)))
            _segmentation(array, images, findings).save_as(content)
            write_atomically(path, content.getvalue())
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnusableInput(series.source, f"no DICOM Segmentation can refer to this series: {reason}") from error
    return path, tuple(sorted(emptied))


def _segmentation(numbers: Volume, images: Sequence[Dataset], findings: Sequence[Finding]) -> Segmentation:
    """Return a DICOM Segmentation of a numbered mask (slice, row, column) on the frames of a series."""
    import highdicom as hd
    from pydicom.uid import ExplicitVRLittleEndian

    return hd.seg.Segmentation(
        source_images=images,
        pixel_array=numbers,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(finding) for finding in findings] or [_described(None)],
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
        omit_empty_frames=bool(numbers.array.any()),
    )


def _described(finding: Finding | None) -> SegmentDescription:
    """Return the description of a segment: a finding of an algorithm, no diagnosis; None is the one of no finding."""
    import highdicom as hd
    from pydicom.sr.codedict import codes

    label = "no finding" if finding is None else f"finding {finding.number}, {finding.sign} than expected"
    segment = hd.seg.SegmentDescription(
        segment_number=1 if finding is None else finding.number,
        segment_label=label,
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.DCM.Finding,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="vae-loc", version=own_version(), family=codes.DCM.ArtificialIntelligence
        ),
    )
    segment.SegmentDescription = label if finding is None else finding.words
    return segment
