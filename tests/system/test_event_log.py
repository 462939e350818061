"""Events as JSON lines."""

import json
from datetime import datetime, timezone

import pytest

from vae_loc.errors import UnusableInput
from vae_loc.system.event_log import EventLog


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_event_is_a_line_at_once_with_its_time(tmp_path):
    with EventLog(tmp_path / "log.jsonl") as log:
        log("start", {"scans": 2})
        assert len(lines(tmp_path / "log.jsonl")) == 1
        log("scan", {"scan": "Größe 脳\n"})
    first, second = lines(tmp_path / "log.jsonl")
    assert (first["event"], first["scans"]) == ("start", 2)
    assert (second["event"], second["scan"]) == ("scan", "Größe 脳\n")
    age = datetime.now(timezone.utc) - datetime.fromisoformat(first["time"])
    assert 0 <= age.total_seconds() < 60


def test_a_log_that_exists_is_gone_on_with(tmp_path):
    for number in range(2):
        with EventLog(tmp_path / "log.jsonl") as log:
            log("start", {"number": number})
    assert [event["number"] for event in lines(tmp_path / "log.jsonl")] == [0, 1]


def test_without_a_place_nothing_is_written(capsys):
    with EventLog(None) as log:
        log("start", {})
    assert capsys.readouterr() == ("", "")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UnusableInput, match="--log-json"):
        EventLog(tmp_path / "gone" / "log.jsonl")
