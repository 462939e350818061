"""The record of a training, and its summary: losses, the subjects behind its thresholds, the next commands."""

import pytest
from support.commands import TINY, run

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.training.training_record import SCHEMA_VERSION, interrupted, read_record, summary


def test_the_record_holds_schema_history_split_and_model(small_model):
    record = read_record(small_model.with_suffix(".training.json"))
    assert record.schema_version == SCHEMA_VERSION
    assert len(record.epochs) == 1
    assert len(record.holdout_subjects) == 1
    assert not set(record.holdout_subjects) & set(record.training_subjects)
    assert record.facts.training.versions["torch"]
    assert record.skipped == []
    model = load_checkpoint(small_model)
    assert record.model_sha256 == model.digest
    assert record.facts.network == model.facts.network
    assert model.facts.healthy.subjects == len(record.holdout_subjects)
    assert (record.recipe.latents, record.recipe.epochs, record.recipe.coarse_noise_sd) == (4, 1, 3.0)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema_version": 1}'])
def test_what_is_no_record_is_refused_by_name(tmp_path, content):
    (tmp_path / "m.training.json").write_text(content)
    with pytest.raises(UnusableInput, match=r"m\.training\.json: expected the record of a training"):
        read_record(tmp_path / "m.training.json")


@pytest.fixture
def small_record(small_model):
    return read_record(small_model.with_suffix(".training.json"))


def changed(small_record, **fields):
    return "\n".join(summary(small_record.model_copy(update=fields), "m.safetensors"))


def test_train_ends_with_loss_share_and_next_step(healthy_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("logging.lastResort", None)
    model = tmp_path / "m.safetensors"
    loud = [option for option in TINY if option != "--quiet"]
    reference = [a for scan in sorted(healthy_folder.iterdir())[:2] for a in ("--reference", scan)]
    code, said = run(monkeypatch, capsys, "train", healthy_folder, "-o", model, *loud, "--epochs", "2", *reference)
    assert code == 0
    assert f"{model}: the network learned from 2 subjects in 2 epochs." in said.err
    assert len(read_record(model.with_suffix(".training.json")).epochs) == 2
    assert "Loss of the held-out slices: " in said.err
    assert "Thresholds and findings rest on 1 subject held out (33%) and on 2 subjects of --reference." in said.err
    assert "warning: thresholds and findings rest on 3 subjects that the network did not learn" in said.err
    assert f"vae-loc segment SCAN -m {model} -o results --report" in said.err
    assert said.out.split() == [str(model), str(tmp_path / "m.training.json")]


def test_thresholds_from_four_subjects_are_a_warning_and_from_five_are_none(small_record):
    assert "warning" in changed(small_record, holdout_subjects=list("ab"), reference_subjects=list("cd"))
    assert "warning" not in changed(small_record, holdout_subjects=list("ab"), reference_subjects=list("cde"))


def test_scans_that_were_left_out_are_counted(small_record):
    assert "2 scans could not be used; the record names them." in changed(small_record, skipped=["a", "b"])
    assert "could not be used" not in changed(small_record)


def test_the_losses_are_those_of_the_first_the_last_and_the_best_epoch(small_record):
    epochs = [{"valid_loss": loss} for loss in (30.0, 10.0, 20.0)]
    said = changed(small_record, epochs=epochs, best_valid_loss=10.0)
    assert "30.0 nats after the first epoch, 20.0 after the last, 10.0 at its best" in said


def test_an_interrupted_training_names_its_state(tmp_path):
    state = tmp_path / "m.state.safetensors"
    assert "before the first epoch was done" in interrupted(state)
    state.touch()
    assert f"kept in {state}. The same command with --resume goes on" in interrupted(state)
