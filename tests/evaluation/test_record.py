"""evaluation.json, typed."""

import json

import pytest
from support.commands import invoke

from vae_loc.evaluation.record import SCHEMA_VERSION, EvaluationRecord, HealthyRates


def test_what_is_written_is_a_record_and_states_its_schema(evaluated):
    text = (evaluated[0] / "evaluation.json").read_text()
    record = EvaluationRecord.model_validate_json(text)
    assert record.schema_version == SCHEMA_VERSION
    assert record.model_dump(mode="json") == json.loads(text)
    assert isinstance(record.healthy_calibration, HealthyRates)


@pytest.mark.full
def test_json_on_stdout_is_what_is_written(evaluated, patients, model_file, tmp_path):
    options = ["--labels", "{subject}_seg.nii.gz", "-m", model_file, "-o", tmp_path]
    said = invoke("evaluate", patients / "p0_t1.nii.gz", *options, "--json").stdout
    assert json.loads(said) == json.loads((tmp_path / "evaluation.json").read_text())
