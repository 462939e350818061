"""The figures of one scan."""

import json

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, rows
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save
from support.scans import opened

from vae_loc.evaluation.metrics import rank
from vae_loc.evaluation.scan_metrics import (
    BASELINES,
    PAPER,
    ScoreStore,
    baseline_maps,
    measure,
    slice_rows,
)
from vae_loc.preprocessing.slices import substantial, to_slices
from vae_loc.scans.annotations import find_labelled
from vae_loc.scoring.aligned_scan import canonical_of
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.system.array_store import ArrayStore
from vae_loc.vocabulary import METHODS


def table_of(folder):
    return rows(folder / "evaluation.csv")


def test_the_table_has_a_row_a_subject_and_map(evaluated):
    table = table_of(evaluated[0])
    assert len(table) == 6 * (len(BASELINES) + len(METHODS))
    assert {row["subject"] for row in table} == {f"p{i}" for i in range(6)}


def test_an_empty_annotation_is_undefined_with_its_reason(evaluated):
    for row in (row for row in table_of(evaluated[0]) if row["subject"] == "p5"):
        assert (row["auroc"], row["average_precision"], row["oracle_dice"]) == ("", "", "")
        assert row["undefined"] == "no annotated voxel inside the brain"
    summary = (evaluated[0] / "evaluation.json").read_text()
    assert "NaN" not in summary
    assert json.loads(summary)["pixel"]["combi"]["per_subject"]["auroc"]["subjects"] == 5


def test_per_subject_figures_are_those_of_the_maps_on_disk(evaluated, patients, small_model, tmp_path):
    invoke("score", patients / "p1_t1.nii.gz", "-m", small_model, "-o", tmp_path, "--method", "rec-error", "-q")
    scores = nib.load(tmp_path / "p1_t1_desc-recerror_anomaly.nii.gz").get_fdata(dtype=np.float32)
    brain = nib.load(patients / "p1_t1.nii.gz").get_fdata() > 0
    truth = nib.load(patients / "p1_seg.nii.gz").get_fdata() > 0
    expected = rank(truth[brain], scores[brain])
    row = next(row for row in table_of(evaluated[0]) if (row["subject"], row["map"]) == ("p1", "rec-error"))
    assert float(row["auroc"]) == pytest.approx(expected.auroc, abs=1e-9)
    assert float(row["oracle_dice"]) == pytest.approx(expected.best_dice, abs=1e-9)


def test_a_slice_is_diseased_from_20_covered_pixels_on_and_healthy_without_any(patients, trained):
    """Of slices of 64 pixels; a pixel counts from half of it on, and a slice with less than that is neither."""
    scan = patients / "p0_t1.nii.gz"
    located = locate(opened(scan), trained, ScoreOptions(methods=METHODS, force=True))
    stack = to_slices(located.canonical)
    kept = np.flatnonzero(substantial(stack))
    coverage = np.full(located.canonical.grid.shape, 0.0009, dtype=np.float32)  # too little to be a lesion
    half, few, little, trace = (coverage[:, :, stack.indices[index]] for index in kept[:4])
    half[:4, :5] = 0.5
    few[:4, :5] = [[0.5] * 5] * 3 + [[0.5] * 4 + [0.49]]
    little[:8, :8] = 0.49
    trace[0, 0] = 0.001
    rows = slice_rows("p0", located, coverage)
    assert [row.diseased for row in rows] == [True] + [False] * (len(kept) - 4)
    expected = [kept[0], *kept[4:]]
    assert [row.scores["brain area"] for row in rows] == [stack.mask[index].sum() for index in expected]
    assert [row.scores["rec"] for row in rows] == [located.scores.slices["rec"][index] for index in expected]


def test_the_constant_inside_the_brain_ranks_pixels_from_half_of_an_annotation_on(patients, trained):
    """The paper's protocol counts every canonical pixel."""
    with ArrayStore() as arrays:
        store = ScoreStore(arrays)
        pair = find_labelled([patients / "p0_t1.nii.gz"], "{subject}_seg.nii.gz")[0]
        measured = measure(pair, trained, store)
        ((lesion,), (other,)) = store.parts(f"combi{PAPER}")
        ((inside,), (outside,)) = store.parts(f"constant{PAPER}")
    assert len(lesion) + len(other) == len(inside) + len(outside) == 64**3
    assert len(lesion) == len(inside)
    assert len(lesion) * 0.027 == pytest.approx(measured.facts.lesion_ml, rel=0.15)  # pixels of 3 mm
    assert other.min() == 0
    assert lesion.min() > 0


def test_the_store_gives_back_sorted_parts():
    rng = np.random.default_rng(0)
    with ArrayStore() as arrays:
        store = ScoreStore(arrays)
        for n in (10, 0, 7):
            store.add("a", rng.random(n) < 0.5, rng.random(n).astype(np.float32))
        lesion, other = store.parts("a")
        assert [len(a) + len(b) for a, b in zip(lesion, other, strict=True)] == [10, 0, 7]
        assert all((np.diff(part) >= 0).all() for part in (*lesion, *other))


def test_each_map_has_its_own_parts_and_an_unknown_one_has_none():
    rng = np.random.default_rng(0)
    given = {}
    with ArrayStore() as arrays:
        store = ScoreStore(arrays)
        for subject in range(3):
            for name in ("a", "b"):
                labels, scores = rng.random(50) < 0.3, rng.random(50).astype(np.float32)
                sides = store.add(name, labels, scores)
                given[name, subject] = np.sort(scores[labels]), np.sort(scores[~labels])
                assert all(np.array_equal(*pair) for pair in zip(sides, given[name, subject], strict=True))
        for name in ("a", "b"):
            for side, parts in enumerate(store.parts(name)):
                assert all(np.array_equal(part, given[name, n][side]) for n, part in enumerate(parts))
        assert store.parts("c") == ([], [])


@pytest.fixture
def maps(tmp_path, trained):
    """Return the baselines of a phantom whose ball has a gain, and where the ball is."""

    def of(gain):
        data, _ = phantom(AFFINE, SHAPE, ball=BALL, radius_mm=14, gain=gain)
        scan = opened(save(tmp_path / f"p_{gain}.nii.gz", data, AFFINE))
        world = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1) @ AFFINE[:3, :3].T
        ball = np.linalg.norm(world + AFFINE[:3, 3] - BALL, axis=-1) < 8
        maps = baseline_maps(scan.volume, scan.brain, canonical_of(scan, trained), trained.reference, contrast="t1")
        return maps, ball, scan.brain

    return of


@pytest.mark.parametrize(("gain", "sign", "other"), [(2.0, "bright", "dark"), (0.4, "dark", "bright")])
def test_place_z_is_a_magnitude_and_each_sign_has_its_own(maps, gain, sign, other):
    of, ball, brain = maps(gain)
    assert set(of) == set(BASELINES)
    for name in ("place-z", "place-z-bright", "place-z-dark"):
        assert of[name].min() >= 0
    assert of["place-z"][ball].mean() > 3 * of["place-z"][brain & ~ball].mean()
    assert of[f"place-z-{sign}"][ball].mean() > 10 * of[f"place-z-{other}"][ball].mean()
    np.testing.assert_allclose(of["place-z-bright"] + of["place-z-dark"], of["place-z"], atol=1e-4)
