"""calibrate and evaluate: subjects never cross, undefined is undefined, order does not matter."""

import csv
import json

import nibabel as nib
import numpy as np
import pytest
from conftest import centred, phantom, save
from typer.testing import CliRunner

from vae_loc.cli.app import app
from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.evaluation.baselines import BASELINES
from vae_loc.evaluation.lesions import find_lesions, match_lesions, size_classes
from vae_loc.evaluation.metrics import rank
from vae_loc.evaluation.score_store import ScoreStore
from vae_loc.model.checkpoint import healthy_threshold, load_checkpoint, with_places
from vae_loc.model.facts import LEVELS, Healthy, quantiles
from vae_loc.scans.annotations import find_labelled
from vae_loc.scans.volume import read_labels, read_volume
from vae_loc.training.labelled_thresholds import split_parts
from vae_loc.vocabulary import METHODS

SHAPE = (40, 46, 36)
AFFINE = centred(np.diag([4.0, 4.0, 4.0]), SHAPE)


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def table_of(folder):
    return list(csv.DictReader((folder / "evaluation.csv").read_text().splitlines()))


def ball_at(centre, radius_mm=14.0):
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in SHAPE], indexing="ij"), -1)
    return np.linalg.norm(grid @ AFFINE[:3, :3].T + AFFINE[:3, 3] - centre, axis=-1) < radius_mm


@pytest.fixture(scope="module")
def patients(tmp_path_factory):
    """Six patients with a bright ball and its mask; the last one's annotation is empty."""
    folder = tmp_path_factory.mktemp("patients")
    for i in range(6):
        centre = (-30.0 + 12 * i, 5.0, 10.0)
        truth = ball_at(centre) & (i < 5)
        data, _ = phantom(AFFINE, SHAPE, ball=centre if i < 5 else None, radius_mm=14, gain=2.5, seed=0.1 * i)
        save(folder / f"p{i}_t1.nii.gz", data, AFFINE)
        save(folder / f"p{i}_seg.nii.gz", truth.astype(np.uint8) * (1 if i else 4), AFFINE)
    return folder


@pytest.fixture(scope="module")
def evaluated(patients, model_file, tmp_path_factory, healthy_folder):
    folder = tmp_path_factory.mktemp("evaluated")
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "--healthy", healthy_folder]
    result = run("evaluate", patients, *options, "-o", folder)
    return folder, result


def test_evaluate_writes_json_csv_and_figures(evaluated):
    folder, result = evaluated
    figures = {
        f"{name}.{kind}" for name in ("roc", "pr", "dice", "subjects", "froc", "reliability") for kind in ("png", "svg")
    }
    assert {path.name for path in folder.iterdir()} == figures | {"evaluation.json", "evaluation.csv"}
    assert "AUROC" in result.stdout
    summary = json.loads((folder / "evaluation.json").read_text())
    assert summary["pixel"]["rec-error"]["per_subject"]["auroc"]["mean"] > 0.9
    assert set(summary["pixel"]) >= {"intensity", "negative-intensity", "equalised-intensity", "place-z", "combi"}
    assert summary["pixel"]["constant inside the brain"]["paper_protocol"]["auroc"] > 0.6
    assert summary["slices"]["diseased"] > 0


def test_the_table_has_a_row_a_subject_and_map(evaluated):
    rows = table_of(evaluated[0])
    assert len(rows) == 6 * (len(BASELINES) + len(METHODS))
    assert {row["subject"] for row in rows} == {f"p{i}" for i in range(6)}


def test_an_empty_annotation_is_undefined_with_its_reason(evaluated):
    rows = table_of(evaluated[0])
    for row in (row for row in rows if row["subject"] == "p5"):
        assert (row["auroc"], row["average_precision"], row["oracle_dice"]) == ("", "", "")
        assert row["undefined"] == "no annotated voxel inside the brain"
    summary = (evaluated[0] / "evaluation.json").read_text()
    assert "NaN" not in summary
    assert json.loads(summary)["pixel"]["combi"]["per_subject"]["auroc"]["subjects"] == 5


def test_per_subject_figures_are_those_of_the_maps_on_disk(evaluated, patients, model_file, tmp_path):
    run("score", patients / "p1_t1.nii.gz", "-m", model_file, "-o", tmp_path, "--method", "rec-error", "-q")
    scores = nib.load(tmp_path / "p1_t1_desc-recerror_anomaly.nii.gz").get_fdata(dtype=np.float32)
    brain = nib.load(patients / "p1_t1.nii.gz").get_fdata() > 0
    truth = nib.load(patients / "p1_seg.nii.gz").get_fdata() > 0
    expected = rank(truth[brain], scores[brain])
    rows = table_of(evaluated[0])
    row = next(row for row in rows if row["subject"] == "p1" and row["map"] == "rec-error")
    assert float(row["auroc"]) == pytest.approx(expected.auroc, abs=1e-9)
    assert float(row["oracle_dice"]) == pytest.approx(expected.best_dice, abs=1e-9)


def test_maps_on_disk_and_the_order_of_the_files_give_the_same_figures(evaluated, patients, model_file, tmp_path):
    run("score", patients, "-m", model_file, "-o", tmp_path / "maps", "--method", "all", "-q")
    files = sorted(patients.glob("*_t1.nii.gz"))[::-1]
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "--maps", tmp_path / "maps", "-o", tmp_path / "e"]
    run("evaluate", *files, *options)
    assert (tmp_path / "e/evaluation.csv").read_bytes() == (evaluated[0] / "evaluation.csv").read_bytes()
    first, second = (json.loads((folder / "evaluation.json").read_text()) for folder in (evaluated[0], tmp_path / "e"))
    assert first["pixel"] == second["pixel"]
    assert first["slices"] == second["slices"]
    assert first["lesions"] == second["lesions"]


def test_maps_of_another_model_are_refused(patients, model_file, tmp_path):
    run("score", patients / "p0_t1.nii.gz", "-m", model_file, "-o", tmp_path, "--method", "all", "-q")
    scores = tmp_path / "p0_t1_scores.json"
    content = json.loads(scores.read_text())
    content["model"]["sha256"] = "0" * 64
    scores.write_text(json.dumps(content))
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "--maps", tmp_path, "-o", tmp_path / "e"]
    result = CliRunner().invoke(app, ["evaluate", str(patients / "p0_t1.nii.gz"), *map(str, options)])
    assert type(result.exception).__name__ == "UnusableModel"


def test_calibrate_stores_thresholds_that_segment_uses(patients, model_file, tmp_path):
    before = model_file.read_bytes()
    out = tmp_path / "c.safetensors"
    options = ["--labels", "{subject}_seg.nii.gz", "--folds", "5"]
    run("calibrate", model_file, patients, *options, "-o", out)
    assert model_file.read_bytes() == before
    labelled = load_checkpoint(out).facts.labelled
    assert labelled.folds == 4  # the fifth part is p5, whose annotation is empty
    assert labelled.dice["rec-error"][0] > 0.5
    run("segment", patients / "p1_t1.nii.gz", "-m", out, "-o", tmp_path / "s", "--method", "rec-error")
    mask = json.loads((tmp_path / "s/p1_t1_scores.json").read_text())["masks"]["rec-error"]
    assert mask["threshold"] == labelled.thresholds["rec-error"]
    assert mask["threshold_from"].startswith("labelled calibration")
    ignored = run("segment", patients / "p1_t1.nii.gz", "-m", out, "-o", tmp_path / "s", "--fpr", "0.01")
    assert "--fpr had no effect" in ignored.output
    run("segment", patients / "p1_t1.nii.gz", "-m", out, "-o", tmp_path / "s", "--threshold", "3")
    assert json.loads((tmp_path / "s/p1_t1_scores.json").read_text())["masks"]["combi"]["threshold"] == 3


def test_the_threshold_is_the_best_of_the_fifth_and_is_reported_on_the_others(patients, model_file, tmp_path):
    options = ["--labels", "{subject}_seg.nii.gz", "--json", "-o", tmp_path / "c.safetensors", "--seed", "1"]
    rows = json.loads(run("calibrate", model_file, patients, *options).stdout)["folds"]
    chosen = split_parts([f"p{i}" for i in range(6)], seed=1)[0]
    run("score", patients, "-m", model_file, "-o", tmp_path, "--method", "combi", "-q")
    truth, scores = [], []
    for name in sorted(chosen):
        inside = nib.load(patients / f"{name}_t1.nii.gz").get_fdata() > 0
        truth.append((nib.load(patients / f"{name}_seg.nii.gz").get_fdata() > 0)[inside])
        scores.append(nib.load(tmp_path / f"{name}_t1_desc-combi_anomaly.nii.gz").get_fdata(dtype=np.float32)[inside])
    row = next(row for row in rows if row["method"] == "combi")
    assert row["threshold"] == rank(np.concatenate(truth), np.concatenate(scores)).best_threshold
    assert not any(f"{name}_t1" in scan for scan in row["dice"] for name in chosen)
    assert len(row["dice"]) == 6 - len(chosen)


def test_healthy_calibration_on_the_held_out_scans_changes_little(healthy_folder, model_file, tmp_path):
    """They are the ones that training calibrated on; their places are blended with themselves."""
    held_out = json.loads(model_file.with_suffix(".training.json").read_text())["holdout_subjects"]
    scans = [healthy_folder / f"{name}_t1.nii.gz" for name in held_out]
    out = tmp_path / "h.safetensors"
    run("calibrate", model_file, *[a for scan in scans for a in ("--healthy", scan)], "-o", out)
    before, after = load_checkpoint(model_file), load_checkpoint(out)
    for name in before.weights:
        assert np.array_equal(before.weights[name], after.weights[name])
    assert np.array_equal(before.places["template"], after.places["template"])
    for name in METHODS:
        old, new = (np.array(model.facts.healthy.raw_maps[name]) for model in (before, after))
        assert np.array_equal(old, new)  # bare scores know no place
        assert healthy_threshold(after, name, 0.05) == pytest.approx(healthy_threshold(before, name, 0.05), rel=0.25)


def test_subjects_never_cross_the_split():
    names = [f"s{i % 7}" for i in range(20)]
    parts = split_parts(names, seed=3)
    assert len(parts) == 5
    assert set.union(*parts) == set(names)
    assert sum(map(len, parts)) == 7
    assert split_parts(names[::-1], seed=3) == parts


def test_noise_is_flagged_at_the_rate_that_was_promised(trained):
    """Ten subjects calibrate, ten others are flagged."""
    rng = np.random.default_rng(0)
    calibration, fresh = rng.standard_normal((2, 10, 40_000)).astype(np.float32)
    noise = {name: quantiles(calibration) for name in load_checkpoint_methods()}
    healthy = Healthy(subjects=10, maps=noise, raw_maps=noise, slices={}, volumes={})
    model = with_places(trained[0], {}, healthy)
    for fpr in (0.01, 0.05, 0.1):
        assert (fresh > healthy_threshold(model, "combi", fpr)).mean() == pytest.approx(fpr, abs=0.005)


def load_checkpoint_methods():
    from vae_loc.vocabulary import METHODS

    assert LEVELS[0] == 0
    return METHODS


@pytest.mark.parametrize(
    ("values", "found"),
    [([0, 0.5], "0.5"), ([0, -1], "-1"), ([0, np.nan], "NaN")],
    ids=["fractional", "negative", "nan"],
)
def test_an_odd_annotation_is_refused_by_name(tmp_path, scan_volume, values, found):
    data = np.zeros(SHAPE, dtype=np.float32)
    data[10:12] = values[1]
    path = save(tmp_path / "lesions.nii.gz", data, scan_volume.affine)
    with pytest.raises(UnusableInput, match=rf"lesions\.nii\.gz: expected .*{found}"):
        read_labels(path, scan_volume)


def test_an_annotation_on_another_grid_is_refused(tmp_path, scan_volume):
    data = np.zeros(SHAPE, dtype=np.uint8)
    shifted = scan_volume.affine.copy()
    shifted[0, 3] += 2e-3
    with pytest.raises(UnusableInput, match="corners"):
        read_labels(save(tmp_path / "l.nii.gz", data, shifted), scan_volume)
    with pytest.raises(UnusableInput, match="shape"):
        read_labels(save(tmp_path / "l.nii.gz", data[1:], scan_volume.affine), scan_volume)


@pytest.mark.parametrize("values", [(1, 2, 4), (255,)])
def test_other_labels_than_1_are_taken_with_a_note(tmp_path, scan_volume, values):
    data = np.zeros(SHAPE, dtype=np.uint8)
    for i, value in enumerate(values):
        data[10 + i, 10, 10] = value
    truth, notes = read_labels(save(tmp_path / "l.nii.gz", data, scan_volume.affine), scan_volume)
    assert truth.sum() == len(values)
    assert "were taken as lesion" in notes[0]


def test_labels_may_come_as_a_table(patients, tmp_path):
    table = tmp_path / "pairs.csv"
    rows = "".join(f"{patients}/p{i}_t1.nii.gz,{patients}/p{i}_seg.nii.gz\n" for i in (2, 1))
    table.write_text("scan,label\n" + rows)
    expected = find_labelled([patients / "p1_t1.nii.gz", patients / "p2_t1.nii.gz"], "{subject}_seg.nii.gz")
    assert find_labelled([table], None) == expected
    assert find_labelled([], str(table)) == expected
    assert find_labelled([patients / "p1_t1.nii.gz"], str(table)) == expected[:1]


def test_a_missing_annotation_pattern_or_file_is_named(patients):
    with pytest.raises(UnusableOption, match="subject"):
        find_labelled([patients], None)
    with pytest.raises(UnusableInput, match="p0_lesion"):
        find_labelled([patients], "{subject}_lesion.nii.gz")


def test_lesions_are_found_missed_or_false():
    truth = np.zeros((30, 30, 30), dtype=bool)
    truth[2:6, 2:6, 2:6] = True  # 64 voxels of 8 mm^3: 0.5 ml
    truth[20:22, 20:22, 20:22] = True  # 8 voxels: 0.06 ml
    lesions = find_lesions(truth, np.ones_like(truth), 8.0)
    assert list(size_classes(lesions)) == [1, 0]
    mask = np.zeros_like(truth)
    mask[5:9, 2:6, 2:6] = True  # covers 16 of 64
    mask[10:14, 10:14, 10:14] = True  # false
    mask[28, 28, 28] = True  # too small to count
    match = match_lesions(mask, lesions, min_size_mm3=100)
    assert list(match.found) == [True, False]
    assert match.false_positives == 1


def test_the_spool_gives_back_sorted_parts():
    rng = np.random.default_rng(0)
    with ScoreStore() as spool:
        for n in (10, 0, 7):
            spool.add("a", rng.random(n) < 0.5, rng.random(n).astype(np.float32))
        lesion, other = spool.parts("a")
        assert [len(a) + len(b) for a, b in zip(lesion, other, strict=True)] == [10, 0, 7]
        assert all((np.diff(part) >= 0).all() for part in (*lesion, *other))


def test_the_model_itself_is_never_overwritten(model_file, healthy_folder):
    result = CliRunner().invoke(
        app, ["calibrate", str(model_file), "--healthy", str(healthy_folder), "-o", str(model_file)]
    )
    assert isinstance(result.exception, UnusableOption)


def test_a_volume_without_content_among_the_patients_is_listed(patients, model_file, tmp_path):
    bad = save(tmp_path / "bad_t1.nii.gz", np.zeros(SHAPE, np.float32), AFFINE)
    save(tmp_path / "bad_seg.nii.gz", np.zeros(SHAPE, np.uint8), AFFINE)
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "-o", tmp_path / "e"]
    result = run("evaluate", patients / "p0_t1.nii.gz", bad, *options, code=3)
    assert "bad_t1.nii.gz" in result.output
    assert read_volume(patients / "p0_t1.nii.gz").data.any()
