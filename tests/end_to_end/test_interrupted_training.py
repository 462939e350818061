"""A training that a signal interrupts goes on where it was."""

import json
import signal
import time

import pytest
from support.commands import TINY, finish, names, start

SOME_EPOCHS = ["--epochs", "12", "--batch-size", "8", *TINY]


@pytest.fixture(scope="module")
def uninterrupted(healthy_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    assert finish(start("train", healthy_folder, *SOME_EPOCHS, "-o", output))[0] == 0
    return output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_training_resumes_to_the_same_bytes(healthy_folder, uninterrupted, tmp_path, number):
    arguments = ["train", healthy_folder, *SOME_EPOCHS, "-o"]
    whole, halves = uninterrupted, tmp_path / "halves.safetensors"
    process = start(*[argument for argument in arguments if argument != "--quiet"], halves)
    state = tmp_path / "halves.state.safetensors"
    for _ in range(6000):
        if state.exists():
            break
        time.sleep(0.01)
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 128 + number
    assert "The same command with --resume goes on from there" in err
    assert not halves.exists()
    assert not [name for name in names(tmp_path) if name.endswith(".tmp")]
    code, _, err = finish(start(*arguments, halves, "--resume"))
    assert code == 0, err
    assert halves.read_bytes() == whole.read_bytes()
    records = [json.loads(path.with_suffix(".training.json").read_text()) for path in (whole, halves)]
    assert records[0]["best_valid_loss"] == records[1]["best_valid_loss"]
    assert not state.exists()
