"""Events as JSON lines."""

import json
import os
from datetime import datetime, timezone
from pathlib import Path

import pytest

from vae_loc.errors import UnusableInput
from vae_loc.system.event_log import event_log


def lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_each_event_is_a_line_at_once_with_its_time(tmp_path):
    with event_log(tmp_path / "log.jsonl") as log:
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
        with event_log(tmp_path / "log.jsonl") as log:
            log("start", {"number": number})
    assert [event["number"] for event in lines(tmp_path / "log.jsonl")] == [0, 1]


def test_without_a_place_nothing_is_written(capsys):
    with event_log(None) as log:
        log("start", {})
    assert capsys.readouterr() == ("", "")


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    with pytest.raises(UnusableInput, match="--log-json"):
        event_log(tmp_path / "gone" / "log.jsonl").__enter__()


@pytest.mark.parametrize("content", [b"\x1f\x8bscan", b"scan,subject\na.nii,a\n", b'{"facts": {}}\n', b"[1]\n", b"{\n"])
def test_a_file_that_is_no_log_is_left_as_it_is(tmp_path, content):
    (tmp_path / "mine").write_bytes(content)
    with pytest.raises(UnusableInput, match="expected a new file or a log"):
        event_log(tmp_path / "mine").__enter__()
    assert (tmp_path / "mine").read_bytes() == content


def test_an_empty_file_and_a_device_may_be_logs(tmp_path):
    (tmp_path / "new").touch()
    for place in (tmp_path / "new", Path("/dev/null")):
        with event_log(place) as log:
            log("start", {})
    assert len(lines(tmp_path / "new")) == 1


def test_a_pipe_or_folder_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(UnusableInput, match=r"found a (pipe|folder)"):
            event_log(place).__enter__()
