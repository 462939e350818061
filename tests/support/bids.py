"""A small BIDS dataset."""

from __future__ import annotations

from support.corpus import GOOD

SCANS = (
    "sub-01/anat/sub-01_T1w.nii",
    "sub-01/anat/sub-01_FLAIR.nii",
    "sub-02/ses-1/anat/sub-02_ses-1_acq-mprage_run-1_T1w.nii",
    "sub-02/ses-2/anat/sub-02_ses-2_T1w.nii",
)


def write_dataset(place):
    """Write the scans, and files that are none of them."""
    for scan in SCANS:
        (place / scan).parent.mkdir(parents=True, exist_ok=True)
        (place / scan).write_bytes(GOOD)
    (place / "sub-01/anat/sub-01_inplaneT1.nii").write_bytes(b"")
    (place / "derivatives/other/sub-01/anat").mkdir(parents=True)
    (place / "derivatives/other/sub-01/anat/sub-01_desc-preproc_T1w.nii").write_bytes(b"")
    (place / "dataset_description.json").write_text('{"Name": "phantoms", "BIDSVersion": "1.10.0"}')
    return place
