"""No file of an earlier run stays that the next one does not make, and no file says what is not true any more.

For each pair of commands on the same scans: what lies in the folder afterwards is what the second command alone makes,
name by name and byte by byte, but for the times that runs took.
"""

import csv
import itertools
import shutil

import pytest
from support.commands import invoke
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

COMMANDS = {
    "findings": ["segment"],
    "more findings, page": ["segment", "--false-findings", "2", "--report"],
    "threshold, percentile": ["segment", "--threshold", "1", "--percentile"],
    "bright": ["score", "--polarity", "bright"],
    "another map, dark, page": ["score", "--method", "rec-error", "--polarity", "dark", "--report"],
}


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Ann's T1 and FLAIR, with a bright ball: `segment` also makes a result of the person."""
    folder = tmp_path_factory.mktemp("people")
    for contrast, seed in (("t1", 0.0), ("flair", 0.1)):
        data = phantom(AFFINE, SHAPE, ball=BALL, radius_mm=16, gain=2.5, seed=seed)[0]
        save(folder / f"ann_{contrast}.nii.gz", data, AFFINE)
    return folder


@pytest.fixture(scope="module")
def alone(people, model_file, tmp_path_factory):
    """What each command makes in an empty folder."""
    made = {}
    for name, command in COMMANDS.items():
        made[name] = tmp_path_factory.mktemp("alone") / "out"
        run(command, people, model_file, made[name])
    return made


def run(command, scans, model, out):
    invoke(command[0], scans, "-m", model, "-o", out, "--jobs", "1", "--quiet", *command[1:])


def content(path):
    """Return what a file says, the seconds that a run took left out."""
    if path.suffix != ".csv":
        return path.read_bytes()
    with open(path, newline="") as file:
        return [{name: cell for name, cell in row.items() if name != "seconds"} for row in csv.DictReader(file)]


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(COMMANDS, 2)))
def test_after_any_pair_of_commands_all_is_of_the_second(first, second, alone, people, model_file, tmp_path):
    out = shutil.copytree(alone[first], tmp_path / "out")
    run(COMMANDS[second], people, model_file, out)
    expected = {path.name: content(path) for path in alone[second].iterdir()}
    found = {path.name: content(path) for path in out.iterdir()}
    assert sorted(found) == sorted(expected)
    assert [name for name in found if found[name] != expected[name]] == []


def test_a_page_says_that_its_map_has_one_sign_alone(alone):
    pages = {name: [path.read_text() for path in folder.glob("ann_*_report.html")] for name, folder in alone.items()}
    assert ["--polarity dark leaves out the rest" in page for page in pages["another map, dark, page"]] == [True, True]
    assert ["--polarity" in page for page in pages["more findings, page"]] == [False] * 3  # two scans and the person
