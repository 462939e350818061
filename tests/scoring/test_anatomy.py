"""A finding is named after the place where it lies."""

import csv

import numpy as np
import pytest
from scipy.ndimage import affine_transform, zoom

from vae_loc.scoring.anatomy import ATLAS_FOLDER, FLUID_LOBES, Place, atlas, labels_for, place_of, regions

PIXEL_MM = 3.0
MOVED = np.array(
    [[0.98, -0.19, 0, 6], [0.19, 0.98, 0, -4], [0, 0, 1.05, 5], [0, 0, 0, 1.0]]
)  # in mm, turned by 11 degrees
HIPPOCAMPUS, POSTCENTRAL, PUTAMEN, CALLOSUM, VENTRICLE = (48, 47), (177, 176), (58, 57), 95, (52, 51)  # left, right


def middle_mm(labels, index):
    """Centroid of a label in mm from the middle of the cube."""
    return (np.argwhere(labels == index).mean(axis=0) - (len(labels) - 1) / 2) * 192 / len(labels)


def ball(centre_mm, radius_mm=5.0, size=64):
    """The pixels of a cube near a point."""
    at = (np.moveaxis(np.indices((size,) * 3), 0, -1) - (size - 1) / 2) * 192 / size
    return np.linalg.norm(at - centre_mm, axis=-1) <= radius_mm


def only(*indices, count=100):
    """Labels on a line, and the pixels of it: `count` pixels for each index."""
    labels = np.repeat(np.array(indices, dtype=np.uint8), count)[:, None, None]
    return np.ones(labels.shape, dtype=bool), labels


@pytest.fixture(scope="module")
def labels():
    """The labels for the mean brain of the atlas."""
    return labels_for(atlas().mean_brain, PIXEL_MM)


@pytest.mark.parametrize(
    ("indices", "lobe", "region"),
    [(HIPPOCAMPUS, "temporal lobe", "hippocampus"), (PUTAMEN, "basal ganglia", "putamen")],
)
def test_a_ball_in_a_region_has_its_name_and_its_mirror_image_the_other_side(labels, indices, lobe, region):
    centre = middle_mm(labels, indices[0])
    for side, sign in (("left", 1), ("right", -1)):
        place = place_of(ball(centre * (sign, 1, 1)), labels)
        assert (place.side, place.lobe, place.region) == (side, lobe, region)
        assert place.share > 0.4


def test_a_finding_that_fills_a_region_has_its_name(labels):
    for index in map(int, np.unique(labels[labels > 0])):
        region = regions()[index]
        assert place_of(labels == index, labels) == Place(region.side, region.lobe, region.name, 1.0)


def test_left_is_where_x_is_negative(labels):
    for index, region in regions().items():
        if region.side != "midline" and (labels == index).any():
            assert (middle_mm(labels, index)[0] < 0) == (region.side == "left"), region


def test_the_mean_brain_of_the_atlas_has_the_labels_as_they_are(labels):
    assert np.array_equal(labels, atlas().labels)
    assert labels.dtype == np.uint8
    assert not labels.flags.writeable


def test_every_pixel_of_the_mean_brain_has_a_label(labels):
    assert (labels[atlas().mean_brain > 0.3] > 0).all()


def moved_template():
    """The mean brain of the atlas, moved by `MOVED`."""
    back = np.linalg.inv(MOVED)
    middle = np.full(3, 31.5)
    return affine_transform(atlas().mean_brain, back[:3, :3], middle + back[:3, 3] / 3 - back[:3, :3] @ middle, order=1)


def test_a_moved_mean_brain_gives_the_same_name_at_the_moved_place(labels):
    moved = labels_for(moved_template(), PIXEL_MM)
    for index in (*HIPPOCAMPUS, *PUTAMEN, *POSTCENTRAL):
        centre = MOVED[:3, :3] @ middle_mm(labels, index) + MOVED[:3, 3]
        place = place_of(ball(centre), moved)
        assert (place.side, place.region) == (regions()[index].side, regions()[index].name)


def test_a_mean_brain_of_another_contrast_gets_the_same_labels(labels):
    brain = atlas().mean_brain
    inverted = np.where(brain > 0.3, 1.6 - brain, 0).astype(np.float32)
    assert np.mean((labels_for(inverted, PIXEL_MM) == labels)[labels > 0]) > 0.9


@pytest.mark.parametrize("size", [32, 96])
def test_a_model_of_another_image_size_gets_labels_of_its_size(labels, size):
    template = zoom(atlas().mean_brain, size / 64, order=1, grid_mode=True, mode="grid-constant")
    resized = labels_for(template, 192 / size)
    assert resized.shape == (size,) * 3
    for index in PUTAMEN:
        place = place_of(ball(middle_mm(labels, index), 8, size), resized)
        assert (place.side, place.region) == (regions()[index].side, "putamen")


def test_a_template_that_is_no_brain_gets_no_labels():
    too_small = ball((0, 0, 0), radius_mm=30).astype(np.float32)
    assert not labels_for(too_small, PIXEL_MM).any()
    assert not labels_for(np.zeros((64, 64, 64), dtype=np.float32), PIXEL_MM).any()


def test_the_same_template_is_aligned_once():
    assert labels_for(moved_template(), PIXEL_MM) is labels_for(moved_template(), PIXEL_MM)


def test_a_finding_without_labels_has_no_place():
    pixels = ball((0, 0, 0))
    assert place_of(pixels, np.zeros(pixels.shape, dtype=np.uint8)) is None
    assert place_of(np.zeros_like(pixels), atlas().labels) is None


def test_a_finding_on_both_sides_is_named_so():
    assert place_of(*only(*PUTAMEN)) == Place("both", "basal ganglia", "putamen", 1.0)
    assert place_of(*only(58, 58, 58, 57)) == Place("left", "basal ganglia", "putamen", 0.75)


def test_the_lobe_with_most_pixels_counts_before_the_largest_region():
    parts = only(155, 133, 177, 177, 123)  # two gyri of the parietal pixels are one region, of the temporal ones three
    assert place_of(*parts) == Place(
        "left", "temporal lobe", "fusiform gyrus", 0.2, {"postcentral gyrus": 0.4, "inferior temporal gyrus": 0.2}
    )


def test_further_regions_have_a_twentieth_of_the_finding_lie_on_its_side_and_are_tissue_where_it_is():
    left, right, ventricle = *PUTAMEN, VENTRICLE[0]
    few = only(*[155] * 20, left)  # a gyrus on the left, and less than a twentieth elsewhere
    assert place_of(*few).others == {}
    assert place_of(*only(155, 155, 155, left, right, ventricle)).others == {"putamen": pytest.approx(1 / 6)}


def test_unlabelled_pixels_of_a_finding_lower_its_share():
    assert place_of(*only(0, 35)) == Place("midline", "brain stem", "brain stem", 0.5)


def test_fluid_names_a_finding_only_with_more_than_half_of_it():
    assert place_of(*only(52, 82)).lobe == "frontal lobe"
    assert place_of(*only(52, 52, 82)).lobe == "lateral ventricle"


def test_a_place_reads_as_one_phrase():
    assert Place("left", "temporal lobe", "hippocampus", 0.6).words() == "left temporal lobe (hippocampus, 60 %)"
    assert Place("midline", "brain stem", "brain stem", 0.9).words() == "brain stem (90 %)"
    assert Place("left", "lateral ventricle", "lateral ventricle", 1).words() == "left lateral ventricle (100 %)"
    both = Place("both", "frontal lobe", "frontal white matter", 0.333)
    assert both.words() == "frontal lobe on both sides (frontal white matter, 33 %)"


def test_every_label_of_the_atlas_has_one_row_and_every_structure_of_fluid_is_in_the_table():
    with open(ATLAS_FOLDER / "regions.tsv", newline="") as file:
        indices = [int(row["index"]) for row in csv.DictReader(file, delimiter="\t")]
    assert len(set(indices)) == len(indices)
    assert set(np.unique(atlas().labels)) - {0} <= set(indices)
    assert set(FLUID_LOBES) <= {region.lobe for region in regions().values()}


def test_the_two_sides_of_a_region_have_the_same_name():
    sides = {side: sorted((r.lobe, r.name) for r in regions().values() if r.side == side) for side in ("left", "right")}
    assert sides["left"] == sides["right"]


def test_the_licence_of_the_labels_lies_beside_them():
    text = (ATLAS_FOLDER / "LICENSE").read_text()
    assert 'All or portions of this licensed product (such portions are the "Software")' in text
    assert "PART B. DOWNLOADING AGREEMENT" in text
    assert "MODIFIED WORK" in text
    assert "CC BY-SA 3.0" in text
