"""A finding in words: scans of different kinds apart, no share beyond its data, sizes to two digits."""

import pytest

from vae_loc.scoring.finding_model import Finding, nothing_found, one_in

UNKNOWN = dict.fromkeys(Finding.model_fields)


def finding(**known):
    facts = {"number": 1, "sign": "brighter", "strength": 9.0, "contrast": "t2", "volume_ml": 114.3, "peak_slice": 7}
    points = dict.fromkeys(("peak_ras_mm", "peak_voxel", "centroid_ras_mm"), (0, 0, 0))
    return Finding.model_validate(UNKNOWN | facts | points | known)


def test_scans_of_different_kinds_are_said_apart():
    kinds = {"real_as_strong": 0, "real_scans": 5, "simulated_as_strong": 1, "simulated_scans": 67}
    assert finding(**kinds).compared == "as strong in 0 of 5 real and 1 of 67 simulated healthy T2 scans"
    ordinary = {"ordinary_as_strong": 2, "ordinary_scans": 9}
    assert finding(**ordinary).compared == "as strong in 2 of 9 ordinary T2 scans"
    both = kinds | ordinary
    assert finding(**both).compared.endswith("1 of 67 simulated healthy and 2 of 9 ordinary T2 scans")
    assert finding().compared == ""


def test_a_large_finding_is_said_with_its_size_to_two_digits_and_its_largest_regions():
    place = {"side": "left", "lobe": "temporal lobe", "region": "temporal white matter", "region_share": 0.18}
    words = finding(**place, other_regions={"insula": 0.12, "hippocampus": 0.094}).words
    regions = "temporal white matter 18 %, insula 12 %, hippocampus 9 %"
    assert words == f"about 110 ml, brighter than expected, left temporal lobe ({regions}), slice 7"


@pytest.mark.parametrize("scans", [1, 3, 7, 9, 49, 72, 93])
def test_a_share_in_words_is_never_rarer_than_the_rate(scans):
    assert one_in(1 / scans) == ("all" if scans == 1 else f"1 in {scans}")
    assert one_in(1.01 / scans) == ("all" if scans == 1 else f"1 in {scans - 1}" if scans > 2 else "all")
    assert nothing_found(1 / scans) == f"no finding that fewer than {one_in(1 / scans)} healthy people show"
