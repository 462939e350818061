"""What anonymisers leave in DICOM headers is emptied or added where the standard demands it."""

import pytest

from vae_loc.scans.dicom_repair import DATE, TIME


@pytest.mark.parametrize(
    ("value", "valid"), [("20240229", True), ("***", False), ("20241301", False), ("2024-01-01", False)]
)
def test_a_date_has_eight_digits_that_are_one(value, valid):
    assert bool(DATE.fullmatch(value)) == valid


@pytest.mark.parametrize(
    ("value", "valid"), [("12", True), ("1200", True), ("120000.123", True), ("25:61", False), ("240000", False)]
)
def test_a_time_has_hours_and_what_follows(value, valid):
    assert bool(TIME.fullmatch(value)) == valid
