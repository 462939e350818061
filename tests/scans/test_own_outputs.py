"""What vae-loc wrote into a folder is known by its scores JSON, and is no scan."""

import json
import logging
import shutil

from support.commands import invoke, names
from support.corpus import GOOD

from vae_loc.scans.cases import find_cases
from vae_loc.scans.own_outputs import files_of, is_scores, own_outputs, wrote


def scored_in_place(scan, model, *options):
    invoke("segment", scan, "-m", model, "-o", scan.parent, *options)


def test_a_folder_scored_in_place_twice_scores_its_scans_alone(good, small_model, caplog):
    for _ in range(2):
        invoke("segment", good.parent, "-m", small_model, "-o", good.parent, "--percentile")
    made = names(good.parent)
    assert [case.scan for case in find_cases([good.parent])] == [good]
    assert not [name for name in made if name.count("_desc-") > 1]


def test_a_map_of_any_name_is_no_scan_and_that_is_said(good, small_model, caplog):
    invoke("score", good, "-m", small_model, "-o", good.with_name("heat.nii.gz"), "--percentile")
    logging.getLogger("vae_loc").propagate = True
    with caplog.at_level("WARNING"):
        assert [case.scan for case in find_cases([good.parent])] == [good]
    said = "2 files are outputs of vae-loc, or named like them, and no scans: heat.nii.gz, heat_percentile.nii.gz"
    assert said in caplog.text


def test_an_output_counts_as_written_until_it_is_changed(good, small_model):
    scored_in_place(good, small_model)
    scores = good.with_name("scan_t1_scores.json")
    assert is_scores(scores)
    files = files_of(scores)
    assert own_outputs(good.parent) == set(files)
    assert all(wrote(path, scores) for path in files)
    changed = next(iter(files))
    changed.write_bytes(b"mine")
    assert not wrote(changed, scores)


def test_a_scores_json_names_no_file_outside_its_folder(tmp_path):
    (tmp_path / "in").mkdir()
    scores = tmp_path / "in" / "a_scores.json"
    scores.write_text(json.dumps({"files": {"../b.nii.gz": "0", "/etc/passwd": "0", "c.nii": "0"}}))
    assert set(files_of(scores)) == {tmp_path / "in" / "c.nii"}


def test_other_json_is_no_scores_json(tmp_path):
    for number, content in enumerate(('{"scan": 1}', "[]", "scores", "")):
        (tmp_path / f"{number}.json").write_text(content)
    assert [is_scores(tmp_path / f"{number}.json") for number in range(5)] == [False, False, False, True, False]


def test_the_outputs_of_another_folder_s_copy_are_known_there_too(good, small_model, tmp_path):
    scored_in_place(good, small_model, "--method", "all")
    copy = shutil.copytree(good.parent, tmp_path / "copy")
    (copy / "more_t1.nii").write_bytes(GOOD)
    assert [case.scan.name for case in find_cases([copy])] == ["more_t1.nii", "scan_t1.nii"]
