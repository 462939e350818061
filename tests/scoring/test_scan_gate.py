"""What is a brain that the model knows is scored; what is none is refused, unless that is forced."""

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt, gaussian_filter
from support.commands import invoke, names, rows, run
from support.marks import full, some
from support.phantoms import AFFINE, SHAPE, phantom, save
from support.places import SAMPLES
from support.scans import opened

import vae_loc
from vae_loc.errors import UnusableInput
from vae_loc.model.network import load_model
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import standardized
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.preprocessing.regions import depth_mm
from vae_loc.scans.voxels import equal_share
from vae_loc.scoring import scan_gate
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.locate import locate
from vae_loc.scoring.scan_gate import TissueFit, tissue_fit, verdict_on

REAL = ("patient07_t1", "patient07_t2", "patient07_flair", "IXI012_t1", "crtut_t2")
T1 = "IXI012_t1"


@pytest.fixture(scope="module")
def samples():
    """Return the sample scans, each opened once when it is asked for."""

    class Opened(dict):
        def __missing__(self, name):
            self[name] = opened(SAMPLES / f"{name}.nii.gz")
            return self[name]

    return Opened()


def verdict(scan, contrast):
    model = load_model(contrast)
    return verdict_on(scan, canonical_of(scan, model), model, force=True)


def changed(scan, data=None, brain=None, affine=None):
    """Return a scan with other voxels, brain or affine."""
    volume = replace(
        scan.volume,
        data=np.asfortranarray(scan.volume.data if data is None else data, dtype=np.float32),
        affine=scan.volume.affine if affine is None else affine,
    )
    return Scan(volume, scan.brain if brain is None else brain, "file")


def axis_of(scan, ends):
    return next(i for i, code in enumerate(nib.aff2axcodes(scan.volume.affine)) if code in ends)


@pytest.mark.parametrize("name", some(REAL, T1))
def test_a_real_scan_is_not_refused_and_not_called_blurred(samples, name):
    found = verdict(samples[name], name.rpartition("_")[2])
    assert found.refusals == ()
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        full(["SI"], "upside down"),
        full(["PA"], "mirrored front to back"),
        full(["SI", "PA"], "turned over"),
        full(["LR"], None),
    ],
    ids=["upside down", "front to back", "both", "left to right"],
)
@pytest.mark.parametrize("name", ["IXI012_t1", full("patient07_flair")])
def test_a_brain_in_a_pose_that_no_head_has_is_refused(samples, name, ends, said):
    """Left and right cannot be told."""
    scan = samples[name]
    axes = tuple(axis_of(scan, pair) for pair in ends)
    turned = changed(scan, np.flip(scan.volume.data, axes), np.flip(scan.brain, axes))
    refusals = verdict(turned, name.rpartition("_")[2]).refusals
    assert [f"its header places the brain {said}: " in refusal for refusal in refusals] == [True] * (said is not None)


@pytest.mark.parametrize(
    ("axes", "signs", "said"),
    [
        full((0, 1, 2), (-1, 1, -1), "upside down"),
        full((0, 1, 2), (1, 1, -1), "upside down"),
        full((1, 0, 2), (1, 1, 1), "on its side"),
        ((2, 1, 0), (1, 1, 1), "on its side"),
        full((0, 1, 2), (-1, 1, 1), None),
    ],
)
def test_a_whole_head_in_a_pose_that_its_header_does_not_state_is_refused(tmp_path, axes, signs, said):
    """The brain is extracted in the wrong pose, and its outline fits any pose well."""
    image = nib.as_closest_canonical(nib.load(SAMPLES / "crtut_t2.nii.gz"))
    data = np.asarray(image.dataobj).transpose(axes)[tuple(np.s_[::sign] for sign in signs)]
    nib.save(nib.Nifti1Image(data, np.eye(4)), tmp_path / "head_t2.nii.gz")
    refusals = verdict(opened(tmp_path / "head_t2.nii.gz"), "t2").refusals
    assert [f"its header places the brain {said}" in refusal for refusal in refusals] == [True] * (said is not None)


@pytest.mark.parametrize("smooth", [full(0), 1.5])
@pytest.mark.parametrize("contrast", ["t1", full("t2"), full("flair")])
def test_noise_in_the_shape_of_a_brain_is_refused(samples, contrast, smooth):
    scan = samples[T1]
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, scan.brain.shape), smooth)
    found = verdict(changed(scan, (100 + 20 * noise / noise.std()) * scan.brain), contrast)
    assert "its detail is not that of a brain" in found.refusals[0]


def test_a_map_of_statistics_is_refused_also_where_it_is_symmetric(samples):
    scan = samples[T1]
    noise = gaussian_filter(np.random.default_rng(0).normal(0, 1, scan.brain.shape), 2)
    noise += np.flip(noise, axis_of(scan, "LR"))
    assert "values of both signs" in verdict(changed(scan, noise * scan.brain), "t1").refusals[0]


@pytest.mark.parametrize(("name", "first"), [(T1, 0), ("crtut_t2", 0.4)])
def test_a_brain_of_mean_0_or_a_part_of_one_is_no_map_of_statistics(samples, name, first):
    scan = samples[name]
    axis, brain = axis_of(scan, "SI"), scan.brain.copy()
    used = np.flatnonzero(brain.any(axis=tuple({0, 1, 2} - {axis})))
    np.moveaxis(brain, axis, 0)[: round(used[0] + first * np.ptp(used))] = False
    values = scan.volume.data[brain]
    mean_0 = (scan.volume.data - values.mean()) / values.std() * brain
    assert not verdict(changed(scan, mean_0, brain), name.rpartition("_")[2]).refusals


def test_a_t1_with_hardly_the_detail_of_a_human_brain_is_warned_about(samples, monkeypatch):
    monkeypatch.setattr(scan_gate, "tissue_fit", lambda *_: TissueFit(0.1, 0.3, 0.5, 0.2))
    assert any("hardly that of a human adult" in warning for warning in verdict(samples[T1], "t1").warnings)


def labels_of(scan):
    """A map of labels: blocks of one number each."""
    numbers = np.random.default_rng(0).integers(1, 150, [n // 12 + 1 for n in scan.brain.shape])
    for axis, count in enumerate(scan.brain.shape):
        numbers = np.repeat(numbers, 12, axis=axis).take(range(count), axis=axis)
    return numbers * scan.brain


def test_a_map_of_labels_is_refused(samples):
    found = verdict(changed(samples[T1], labels_of(samples[T1])), "t1")
    assert "it looks like a map of" in found.refusals[0]


@pytest.mark.parametrize(("code", "said"), [full(3, "statistics"), (1002, "labels"), full(0, None), (1001, None)])
def test_the_intent_of_the_header_counts(samples, code, said):
    scan = samples[T1]
    header = scan.volume.header.copy()
    header["intent_code"] = code
    refusals = verdict(Scan(replace(scan.volume, header=header), scan.brain, "file"), "t1").refusals
    assert [f"a map of {said}" in refusal for refusal in refusals] == [True] * (said is not None)


def test_ct_is_refused(samples):
    scan = samples[T1]
    found = verdict(changed(scan, np.where(scan.brain, scan.volume.data, -1000)), "t1")
    assert "look like CT" in found.refusals[0]


@pytest.mark.parametrize(
    ("zoom", "said"),
    [full(1.5, "brain mask holds"), (0.6, "shape of a brain"), (0.88, None)],
    ids=["big", "small", "child"],
)
def test_a_size_that_no_brain_has_is_refused(samples, zoom, said):
    scan = samples[T1]
    scaled = changed(scan, affine=scan.volume.affine @ np.diag([zoom, zoom, zoom, 1]))
    refusals = verdict(scaled, "t1").refusals
    assert bool(refusals) == (said is not None)
    assert said is None or any(said in refusal for refusal in refusals)


@pytest.mark.full
def test_a_mask_of_a_few_ml_and_two_heads_are_refused(samples):
    scan = samples[T1]
    speck = np.zeros_like(scan.brain)
    speck[55:62, 55:62, 40:47] = True
    assert "2.74 ml" in verdict(changed(scan, brain=speck), "t1").refusals[0]
    head = changed(scan)
    twice = changed(head, np.concatenate([head.volume.data] * 2), np.concatenate([head.brain] * 2))
    assert "brain mask holds" in verdict(twice, "t1").refusals[0]


@pytest.mark.parametrize("name", ["IXI012_t1", full("patient07_flair"), full("crtut_t2")])
@pytest.mark.parametrize(
    ("ends", "share"), [full("SI", 0.6), full("SI", -0.7), full("LR", 0.5)], ids=["top", "bottom", "half"]
)
def test_a_brain_of_which_a_part_is_missing_is_not_refused(samples, name, ends, share):
    scan = samples[name]
    axis = axis_of(scan, ends)
    used = np.flatnonzero(scan.brain.any(axis=tuple({0, 1, 2} - {axis})))
    reach = round(abs(share) * len(used))
    upwards = (nib.aff2axcodes(scan.volume.affine)[axis] in "RS") == (share > 0)
    kept = used[-reach:] if upwards else used[:reach]
    inside = np.isin(np.arange(scan.brain.shape[axis]), kept).reshape([-1 if a == axis else 1 for a in range(3)])
    assert (
        verdict(changed(scan, scan.volume.data * inside, scan.brain & inside), name.rpartition("_")[2]).refusals == ()
    )


@pytest.mark.parametrize("name", [full("patient07_t2"), "IXI012_t1"])
def test_blur_is_said(samples, name):
    scan = samples[name]
    sigmas = 10 / 2.355 / np.array(scan.volume.spacing_mm)
    weight = np.maximum(gaussian_filter(scan.brain.astype(float), sigmas), 0.05)
    blurred = gaussian_filter(scan.volume.data * scan.brain, sigmas) / weight * scan.brain
    found = verdict(changed(scan, blurred), name.rpartition("_")[2])
    assert found.refusals == ()
    assert any("it is blurred" in warning for warning in found.warnings)


@pytest.mark.parametrize("contrast", ["t1", full("t2"), full("flair")])
@pytest.mark.parametrize("kind", [full("sphere"), full("shells"), "egg"])
def test_a_phantom_is_refused(samples, contrast, kind):
    grid = np.moveaxis(np.indices((90, 100, 90)), 0, -1) * 2.0 - (89, 99, 89)
    radius = np.linalg.norm(grid, axis=-1) if kind != "egg" else 65 * np.linalg.norm(grid / (62, 80, 60), axis=-1)
    values = 60 + 40 * ((radius // 12) % 2) if kind == "shells" else np.full(radius.shape, 100.0)
    data = (values + np.random.default_rng(0).normal(0, 3, radius.shape)) * (radius < 65)
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -89, -99, -89
    volume = changed(samples[T1], data, affine=affine).volume
    try:
        scan = Scan(volume, *find_brain(volume, "auto"))
    except UnusableInput:  # extraction found none
        return
    assert verdict(scan, contrast).refusals


def test_the_gate_knows_the_phantoms_of_a_model_of_phantoms(scan, trained):
    found = opened(scan)
    assert verdict_on(found, canonical_of(found, trained), trained, force=True).refusals == ()


@pytest.mark.parametrize("contrast", ["t2", full("flair")])
def test_a_t1_that_is_given_as_another_contrast_is_warned_about(samples, contrast):
    located = locate(samples[T1], load_model(contrast))
    assert located.refusals == ()
    assert any("its tissues look like t1" in warning for warning in located.warnings)


@pytest.fixture(scope="module")
def tissue_with(samples):
    """Return the fit of a sample's tissues after values were added to its canonical intensities."""
    atlas = load_model("t1")

    def fitted(name, values_of):
        brain = canonical_of(samples[name], atlas)
        data = brain.data + values_of(brain, atlas.reference["template"])
        changed_brain = replace(brain, data=standardized(data.astype(np.float32), brain.mask))
        return tissue_fit(changed_brain, atlas.reference["template"])

    return fitted


def white_around_ventricles(brain, template):
    """One in the bright white matter of the mean brain, within 15 mm of deep fluid (about 190 ml), 0 elsewhere."""
    fluid = brain.mask & (brain.data < -1.5) & (depth_mm(brain.mask, brain.grid.pixel_mm) > 18)
    near = distance_transform_edt(~fluid) * brain.grid.pixel_mm < 15
    return brain.mask & ~fluid & near & (template > 1.03)


def ball(brain, template):
    """One in a ball of 120 ml, 0 elsewhere."""
    at_mm = np.indices(template.shape) * brain.grid.pixel_mm
    middle_mm = np.argwhere(brain.mask).mean(axis=0) * brain.grid.pixel_mm + (30, -20, 10)
    return brain.mask & (np.linalg.norm(at_mm - middle_mm[:, None, None, None], axis=0) < 30.6)


@pytest.mark.parametrize("lesion", [white_around_ventricles, full(ball)])
def test_a_flair_with_large_bright_lesions_does_not_look_like_t1(tissue_with, lesion):
    tissue = tissue_with("patient07_flair", lambda *brain: 3.0 * lesion(*brain))
    assert tissue.contrast == "flair"
    assert tissue.middle_white < 0


@pytest.mark.parametrize("lesion", [white_around_ventricles, full(ball)])
def test_a_t1_with_large_dark_lesions_looks_like_t1(tissue_with, lesion):
    tissue = tissue_with(T1, lambda *brain: -1.5 * lesion(*brain))
    assert tissue.contrast == "t1"


@pytest.mark.parametrize("name", some(REAL, T1))
def test_shading_does_not_change_the_contrast_that_the_tissues_have(tissue_with, name):
    def shading(brain, template):
        return np.broadcast_to(np.linspace(-2, 2, len(template))[:, None, None], template.shape)

    assert tissue_with(name, shading).contrast == name.rpartition("_")[2]


@pytest.fixture
def noise_file(tmp_path):
    data, inside = phantom(AFFINE, SHAPE)
    noise = np.random.default_rng(0).uniform(50, 150, data.shape).astype(np.float32) * inside
    return save(tmp_path / "noise_t1.nii.gz", noise, AFFINE)


def test_a_refused_scan_leaves_nothing_and_says_how_to_have_it(noise_file, tmp_path, small_model, monkeypatch, capsys):
    arguments = ["segment", noise_file, "-m", small_model, "-o", tmp_path / "out"]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 4
    assert "expected a brain MRI, but its detail is not that of a brain" in said.err
    assert "--force" in said.err
    assert names(tmp_path / "out") == set()
    code, said = run(monkeypatch, capsys, *arguments, "--force")
    assert code == 0
    assert "warning" in said.err
    summary = json.loads((tmp_path / "out" / "noise_t1_scores.json").read_text())
    assert "its detail is not that of a brain" in summary["forced"][0]
    assert summary["forced"][0] in summary["warnings"]
    assert run(monkeypatch, capsys, *arguments, "--skip-existing")[0] == 4, "what was forced is no result without"


def test_python_refuses_it_too(noise_file, small_model):
    with pytest.raises(UnusableInput, match="expected a brain MRI"):
        vae_loc.localize(noise_file, model=str(small_model))
    with pytest.raises(UnusableInput, match="expected a brain MRI"):
        vae_loc.segment(noise_file, model=str(small_model))
    assert vae_loc.localize(noise_file, model=str(small_model), force=True).refusals
    assert vae_loc.segment(noise_file, model=str(small_model), force=True) is not None


def test_one_refused_scan_among_good_ones_is_a_row(noise_file, good, tmp_path, small_model):
    invoke("score", noise_file, good, "-m", small_model, "-o", tmp_path / "out", code=3)
    by_scan = {Path(row["scan"]).name: row for row in rows(tmp_path / "out" / "cohort.csv")}
    assert (by_scan[good.name]["status"], by_scan[good.name]["error"]) == ("done", "")
    assert by_scan[noise_file.name]["status"] == "failed"
    assert "expected a brain MRI" in by_scan[noise_file.name]["error"]


def test_equal_neighbours_are_counted_along_all_axes():
    brain = np.ones((2, 2, 2), dtype=bool)
    assert equal_share(np.zeros((2, 2, 2), dtype=np.float32), brain) == 1
    assert equal_share(np.arange(8, dtype=np.float32).reshape(2, 2, 2), brain) == 0
