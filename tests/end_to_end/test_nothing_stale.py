"""What is still true of a scan, its model and options stays; only what contradicts the new outputs goes.

For each pair of commands on the same scans: the files that lie in the folder afterwards, and each file is as one of the
two commands alone makes it, but for the tables and the JSONs, which state all that is there.
"""

import itertools
import json
import shutil

import pytest
from support.commands import invoke, names
from support.marks import some
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

from vae_loc.results.output_names import group_table_paths
from vae_loc.system.reading import sha256_of

MAP, MASKS, PAGE = {"anomaly.nii.gz", "anomaly.png"}, {"mask.nii.gz", "dseg.nii.gz", "dseg.tsv"}, "report.html"
COMMANDS = {
    "findings": ["segment"],
    "findings, page": ["segment", "--report"],
    "more findings": ["segment", "--false-findings", "2"],
    "two maps": ["score", "--method", "combi", "--method", "rec-error"],
    "percentile": ["score", "--percentile"],
    "template": ["segment", "--template-space"],
    "bright": ["score", "--polarity", "bright"],
}
COMBI, FOUND = {f"combi_{kind}" for kind in MAP}, {f"combi_{kind}" for kind in MASKS}
OTHER = {f"recerror_{kind}" for kind in MAP}
SHARE = {"combi_percentile.nii.gz"}
SPACE = "space-MNI152NLin2009aSym_desc-"
THERE = {f"{SPACE}{kind}" for kind in ("aligned_scan.nii.gz", "combi_anomaly.nii.gz", "combi_mask.nii.gz",
                                       "combi_dseg.nii.gz")}  # fmt: skip
THERE_STILL = {name for name in THERE if "mask" not in name and "dseg" not in name}  # those are of other findings
BRIGHT = {f"combibright_{kind}" for kind in MAP}
PAIRS = {  # what is there of a scan besides its JSON
    ("findings", "two maps"): COMBI | FOUND | OTHER,
    ("findings", "percentile"): COMBI | FOUND | SHARE,
    ("findings", "more findings"): COMBI | FOUND,
    ("findings, page", "findings"): COMBI | FOUND | {PAGE},
    ("findings, page", "percentile"): COMBI | FOUND | {PAGE} | SHARE,
    ("findings, page", "two maps"): COMBI | FOUND | {PAGE} | OTHER,
    ("findings, page", "more findings"): COMBI | FOUND,  # the page shows other findings
    ("two maps", "findings"): COMBI | FOUND | OTHER,
    ("two maps", "findings, page"): COMBI | FOUND | OTHER | {PAGE},
    ("percentile", "more findings"): COMBI | FOUND | SHARE,
    ("findings, page", "bright"): BRIGHT,  # one JSON is of one polarity
    ("bright", "findings"): COMBI | FOUND,
    ("template", "two maps"): COMBI | FOUND | OTHER | THERE,
    ("template", "more findings"): COMBI | FOUND | THERE_STILL,
    ("findings", "template"): COMBI | FOUND | THERE,
}

# one stays, one goes, and so does what is of other findings in the space of the template
QUICK = [("findings, page", "two maps"), ("findings, page", "more findings"), ("template", "more findings")]


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """Ann's T1 and FLAIR, with a bright ball: `segment` also makes a result of the person."""
    folder = tmp_path_factory.mktemp("people")
    for contrast, seed in (("t1", 0.0), ("flair", 0.1)):
        data = phantom(AFFINE, SHAPE, ball=BALL, radius_mm=16, gain=2.5, seed=seed)[0]
        save(folder / f"ann_{contrast}.nii.gz", data, AFFINE)
    return folder


class Alone(dict):
    """The outputs of each command in an empty folder, made when they are asked for."""

    def __init__(self, scans, model, factory):
        super().__init__()
        self.given = scans, model, factory

    def __missing__(self, name):
        scans, model, factory = self.given
        self[name] = factory.mktemp("alone") / "out"
        run(COMMANDS[name], scans, model, self[name])
        return self[name]


@pytest.fixture(scope="module")
def alone(people, model_file, tmp_path_factory):
    return Alone(people, model_file, tmp_path_factory)


@pytest.fixture(scope="module")
def t1_alone(people, model_file, tmp_path_factory):
    return Alone(people / "ann_t1.nii.gz", model_file, tmp_path_factory)


def run(command, scans, model, out):
    invoke(command[0], scans, "-m", model, "-o", out, "--jobs", "1", "--quiet", *command[1:])


def of_scan(folder):
    """Return the outputs of Ann's T1 besides its JSON, without what all begin with."""
    begun = {name.removeprefix("ann_t1_").removeprefix("desc-") for name in names(folder) if "ann_t1_" in name}
    return begun - {"scores.json"}


@pytest.mark.parametrize(("first", "second"), some(PAIRS, *QUICK))
def test_what_is_true_stays_and_what_contradicts_goes(first, second, t1_alone, people, model_file, tmp_path):
    out = shutil.copytree(t1_alone[first], tmp_path / "out")
    run(COMMANDS[second], people / "ann_t1.nii.gz", model_file, out)
    assert of_scan(out) == PAIRS[first, second]
    content = json.loads((out / "ann_t1_scores.json").read_text())
    assert {name: sha256_of(out / name) for name in content["files"]} == content["files"]
    assert len(content["files"]) == len(PAIRS[first, second])
    assert set(content.get("masks", ())) == ({"combi"} if of_scan(out) >= FOUND else set())
    for name in content["files"]:
        made = [(t1_alone[by] / name).read_bytes() for by in (second, first) if (t1_alone[by] / name).exists()]
        assert (out / name).read_bytes() in made


@pytest.mark.full
@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_all_that_is_there_is_skipped_and_the_same_again_changes_nothing(
    first, second, alone, people, model_file, tmp_path
):
    out = shutil.copytree(alone[first], tmp_path / "out")
    run(COMMANDS[second], people, model_file, out)
    before = {path.name: path.read_bytes() for path in out.iterdir() if not path.name.startswith("cohort")}
    for again in ([*COMMANDS[second], "--skip-existing"], COMMANDS[second]):
        run(again, people, model_file, out)
        assert {name: (out / name).read_bytes() for name in before} == before
        if "--skip-existing" in again:
            table = (out / "cohort.csv").read_text()
            assert (table.count(",skipped,"), table.count(",done,")) == (2, 0)


def test_a_page_says_that_its_map_has_one_sign_alone(people, model_file, tmp_path):
    run(["score", "--polarity", "dark", "--report"], people / "ann_t1.nii.gz", model_file, tmp_path / "dark")
    assert "--polarity dark leaves out the rest" in (tmp_path / "dark" / "ann_t1_report.html").read_text()


@pytest.mark.full
@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(COMMANDS, 2)))
def test_no_file_is_there_that_no_json_names(first, second, alone, people, model_file, tmp_path):
    out = shutil.copytree(alone[first], tmp_path / "out")
    run(COMMANDS[second], people, model_file, out)
    jsons = [name for name in names(out) if name.endswith("_scores.json")]
    contents = [json.loads((out / name).read_text()) for name in jsons]
    listed = {file for content in contents for file in content["files"]}
    # tables for groups are of findings: there are none without
    tables = group_table_paths(out / "cohort.csv") if any(content.get("masks") for content in contents) else []
    assert names(out) - {"cohort.csv", "cohort.html", *jsons} == listed | {path.name for path in tables}
