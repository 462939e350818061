"""A training that a signal interrupts says how to go on, and goes on where it was."""

import signal

import pytest
from support.commands import TINY, finish, invoke, names, start, wait_for

SOME_EPOCHS = ["--epochs", "12", "--batch-size", "8", *TINY]


@pytest.fixture(scope="module")
def uninterrupted(healthy_folder, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    invoke("train", healthy_folder, *SOME_EPOCHS, "-o", output)
    return output


def interrupted(folder, output, number):
    """Train until the first epoch is done, then send a signal; return the state that is left."""
    state = output.with_suffix(".state.safetensors")
    loud = [option for option in SOME_EPOCHS if option != "--quiet"]
    process = start("train", folder, *loud, "-o", output)
    wait_for(state.exists)
    process.send_signal(number)
    code, _, err = finish(process)
    assert code == 128 + number
    assert "The same command with --resume goes on from there" in err
    assert names(output.parent) == {state.name}
    return state


@pytest.mark.full
def test_ctrl_c_keeps_the_finished_epochs(healthy_folder, tmp_path):
    interrupted(healthy_folder, tmp_path / "m.safetensors", signal.SIGINT)


@pytest.mark.full
def test_an_interrupted_training_resumes_to_the_same_bytes(healthy_folder, uninterrupted, tmp_path):
    halves = tmp_path / "halves.safetensors"
    state = interrupted(healthy_folder, halves, signal.SIGTERM)
    invoke("train", healthy_folder, *SOME_EPOCHS, "-o", halves, "--resume")
    assert halves.read_bytes() == uninterrupted.read_bytes()
    records = [path.with_suffix(".training.json").read_bytes() for path in (uninterrupted, halves)]
    assert records[0] == records[1]
    assert not state.exists()
