"""The scans of a BIDS dataset."""

import pytest

from vae_loc.errors import UnusableInput
from vae_loc.scans.bids_dataset import find_scans


def test_scans_are_found_by_participant_session_and_contrast(bids_dataset):
    def names(**options):
        return [case.scan.name for case in find_scans(bids_dataset, **{"contrast": "t1"} | options)]

    assert len(names(contrast=None)) == 4
    assert names(contrast="flair") == ["sub-01_FLAIR.nii"]
    assert names(participants=["02"], sessions=["ses-2"]) == ["sub-02_ses-2_T1w.nii"]
    assert names(participants=["sub-01"]) == ["sub-01_T1w.nii"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"participants": ["03"]}, "sub-03, found none"),
        ({"contrast": "t2"}, "found no T2w"),
        ({"sessions": ["9"]}, "found no"),
    ],
)
def test_what_a_dataset_does_not_have_is_named(bids_dataset, options, words):
    with pytest.raises(UnusableInput, match=words):
        find_scans(bids_dataset, **{"contrast": "t1"} | options)
