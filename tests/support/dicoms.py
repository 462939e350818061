"""Synthetic DICOM series: a phantom on an oblique grid, with a patient whose name must not get out."""

from __future__ import annotations

import zipfile

import numpy as np
from support.phantoms import phantom

PATIENT = "Geheim^Petra"


def oblique(degrees=(17.0, -11.0, 23.0), spacing=(4.0, 3.5, 5.0), shape=(44, 54, 34)):
    """Affine of (column, row, slice) to RAS+ mm: rotated about three axes, flipped to DICOM's hand, off centre."""
    x, y, z = np.radians(degrees)
    turn_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    turn_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    turn_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = np.diag([-1, -1, 1]) @ turn_x @ turn_y @ turn_z @ np.diag(spacing)
    affine[:3, 3] = np.array([3.0, -7.0, 5.0]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return affine, shape


def write_series(folder, *, ball=None, number=1, slope=2.0, description="t1 mprage", change=lambda image, k: None):
    """Write a series of MR images, one a slice; return its affine (column, row, slice) to RAS+ and its voxels.

    `change` may alter each image before it is written.
    """
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

    affine, shape = oblique()
    data, _ = phantom(affine, shape, ball=ball, gain=3)
    stored = np.round(data / slope).astype(np.uint16)
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    folder.mkdir(parents=True, exist_ok=True)
    series, study, frame = (generate_uid(entropy_srcs=[name, str(number)]) for name in ("series", "study", "frame"))
    order = np.random.default_rng(number).permutation(shape[2])
    for k in range(shape[2]):
        image = Dataset()
        image.file_meta = FileMetaDataset()
        image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID = MRImageStorage
        uid = generate_uid(entropy_srcs=["image", str(number), str(k)])
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID = uid
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        image.SeriesInstanceUID, image.StudyInstanceUID, image.FrameOfReferenceUID = series, study, frame
        image.PatientName, image.PatientID, image.PatientBirthDate, image.PatientSex = (
            PATIENT,
            "P-4711",
            "19500101",
            "F",
        )
        image.StudyDate, image.StudyTime, image.StudyID, image.AccessionNumber = "20200101", "120000", "1", ""
        image.ReferringPhysicianName, image.Modality, image.Manufacturer = "", "MR", "none"
        image.SeriesNumber, image.InstanceNumber, image.SeriesDescription = number, k + 1, description
        image.PositionReferenceIndicator, image.ImageType = "", ["ORIGINAL", "PRIMARY", "M"]
        image.ScanningSequence, image.SequenceVariant, image.ScanOptions = "GR", "NONE", ""
        image.MRAcquisitionType, image.EchoTime, image.EchoTrainLength = "3D", 3.0, 1
        image.Rows, image.Columns = shape[1], shape[0]
        image.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        image.SliceThickness = float(spacing[2])
        image.ImageOrientationPatient = [
            float(f"{v:.12g}") for v in [*(lps[:3, 0] / spacing[0]), *(lps[:3, 1] / spacing[1])]
        ]
        image.ImagePositionPatient = [float(f"{v:.12g}") for v in (lps @ [0, 0, k, 1])[:3]]
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = slope, 0, "US"
        image.PixelData = np.ascontiguousarray(stored[:, :, k].T).tobytes()
        change(image, k)
        image.save_as(folder / f"IM{order[k]:04d}", enforce_file_format=True)
    return affine, stored * slope


def series_of(source, wanted=None, *, contrast=None):
    """Return the one series of a folder or zip that is chosen."""
    from vae_loc.scans.dicom_study import best_series

    (one,) = best_series(source, wanted, contrast=contrast)
    return one


def stated(**values):
    """Return a change that states values without looking whether DICOM allows them; None removes them."""

    def change(image, _):
        from pydicom.datadict import dictionary_VR, tag_for_keyword
        from pydicom.dataelem import DataElement

        for name, value in values.items():
            tag = tag_for_keyword(name)
            if value is None:
                del image[tag]
                continue
            element = DataElement(tag, dictionary_VR(name), None, validation_mode=0)
            element._value = value
            image[tag] = element

    return change


def zipped(folder, path):
    """Pack a folder of DICOM files into a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.write(file, file.relative_to(folder))
    return path
