"""The files of one scan."""

import hashlib
import json
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, names

from vae_loc.errors import OurBug
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.results.earlier_outputs import earlier_outputs
from vae_loc.results.output_names import FolderNames
from vae_loc.results.scan_outputs import write_outputs
from vae_loc.results.scan_summary import Inputs
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.system.writing import write_atomically


def test_scoring_twice_gives_the_same_bytes(tmp_path, small_model, scan):
    for folder in ("a", "b"):
        invoke("score", scan, "-m", small_model, "-o", tmp_path / folder, "--method", "all")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_threshold_marks_exactly_what_lies_above(tmp_path, small_model, scan):
    invoke("segment", scan, "-m", small_model, "-o", tmp_path / "o", "--threshold", "0", "--min-size", "0")
    scores = nib.load(tmp_path / "o/pat_t1_desc-combi_anomaly.nii.gz").get_fdata()
    mask = nib.load(tmp_path / "o/pat_t1_desc-combi_mask.nii.gz").get_fdata()
    assert np.array_equal(mask > 0, scores > 0)


def test_raw_writes_the_bare_score_and_percentile_a_second_map(tmp_path, small_model, scan):
    invoke("segment", scan, "-m", small_model, "-o", tmp_path / "n", "--percentile")
    invoke("segment", scan, "-m", small_model, "-o", tmp_path / "r", "--raw")
    normal, raw = (nib.load(tmp_path / f / "pat_t1_desc-combi_anomaly.nii.gz").get_fdata() for f in ("n", "r"))
    assert not np.allclose(normal, raw)
    percentile = nib.load(tmp_path / "n/pat_t1_desc-combi_percentile.nii.gz").get_fdata()
    assert 0 <= percentile.min() <= percentile.max() <= 100
    thresholds = [
        json.loads((tmp_path / f / "pat_t1_scores.json").read_text())["masks"]["combi"]["threshold"] for f in ("n", "r")
    ]
    assert thresholds[0] != thresholds[1]


def test_nothing_of_another_polarity_stays(tmp_path, small_model, scan):
    invoke("segment", scan, "-m", small_model, "-o", tmp_path, "--threshold", "1", "--percentile", "--report")
    mine = tmp_path / "pat_t1_desc-combi_notes.txt"
    mine.write_text("mine")
    invoke("score", scan, "-m", small_model, "-o", tmp_path, "--polarity", "bright")
    kinds = ("anomaly.nii.gz", "anomaly.png")
    made = {f"pat_t1_desc-combibright_{kind}" for kind in kinds} | {"pat_t1_scores.json"}
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith("pat_t1_")} == made | {mine.name}


def test_a_stale_file_that_someone_changed_stays_and_nothing_outside_the_folder_is_touched(tmp_path, small_model, scan):
    out = tmp_path / "out"
    invoke("segment", scan, "-m", small_model, "-o", out, "--threshold", "1")
    (out / "pat_t1_desc-combi_dseg.tsv").write_text("my notes")
    outside = tmp_path / "precious"
    outside.write_text("x")
    scores = out / "pat_t1_scores.json"
    content = json.loads(scores.read_text())
    content["files"]["../precious"] = hashlib.sha256(b"x").hexdigest()
    scores.write_text(json.dumps(content))
    invoke("score", scan, "-m", small_model, "-o", out, "--polarity", "bright")
    assert (out / "pat_t1_desc-combi_dseg.tsv").read_text() == "my notes"
    assert not (out / "pat_t1_desc-combi_mask.nii.gz").exists()
    assert outside.exists()


@dataclass(frozen=True)
class Careless(FolderNames):
    """Names of a folder into which a file is written that they do not declare."""

    def companions(self, located, masks):
        write_atomically(self.folder / "more.txt", b"x")


def test_an_output_that_the_names_do_not_declare_is_a_bug_of_ours_and_nothing_is_written(tmp_path, trained, scan):
    located = locate(open_scan(find_cases([scan])[0]), trained)
    made_of = ScoreOptions(), Inputs(scan="0", brain_mask=None)
    kinds = (Careless, FolderNames)
    careless, careful = (earlier_outputs(kind(tmp_path / "out", None), scan, *made_of) for kind in kinds)
    with pytest.raises(OurBug, match=r"more\.txt is written, and the output names do not declare it"):
        write_outputs(located, trained, *made_of, careless)
    assert names(tmp_path / "out") == set()
    assert write_outputs(located, trained, *made_of, careful)
