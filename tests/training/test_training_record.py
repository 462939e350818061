"""The record of a training."""

import pytest

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import load_checkpoint
from vae_loc.training.training_record import SCHEMA_VERSION, read_record


def test_the_record_holds_schema_history_split_and_model(model_file):
    record = read_record(model_file.with_suffix(".training.json"))
    assert record.schema_version == SCHEMA_VERSION
    assert len(record.epochs) == 8
    assert len(record.holdout_subjects) == 1
    assert not set(record.holdout_subjects) & set(record.training_subjects)
    assert record.facts.training.versions["torch"]
    assert record.skipped == []
    model = load_checkpoint(model_file)
    assert record.model_sha256 == model.digest
    assert record.facts.network == model.facts.network
    assert (record.recipe.latents, record.recipe.epochs, record.recipe.coarse_noise_sd) == (8, 8, 3.0)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"schema_version": 1}'])
def test_what_is_no_record_is_refused_by_name(tmp_path, content):
    (tmp_path / "m.training.json").write_text(content)
    with pytest.raises(UnusableInput, match=r"m\.training\.json: expected the record of a training"):
        read_record(tmp_path / "m.training.json")
