"""The tables of a cohort say what the JSONs say, in words that a data dictionary explains; none of them is stale."""

import csv
import json

import numpy as np
import pytest
from support.commands import invoke, names, rows, run
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

from vae_loc.results.output_names import GROUP_TABLES
from vae_loc.scoring.anatomy import regions

TABLES = {f"{name}{ending}" for name in GROUP_TABLES for ending in (".tsv", ".json")}


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter="\t"))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory, model_file):
    """Ann in two sessions, in the first with two contrasts; Bob; a damaged scan; in a table with more columns."""
    folder = tmp_path_factory.mktemp("group")
    ball = phantom(AFFINE, SHAPE, ball=BALL, radius_mm=16, gain=2.5)[0]
    for name in ("sub-ann_ses-1_T1w", "sub-ann_ses-1_FLAIR", "sub-ann_ses-2_T1w"):
        save(folder / f"{name}.nii.gz", ball, AFFINE)
    save(folder / "bob_t1.nii.gz", phantom(AFFINE, SHAPE, seed=0.2)[0], AFFINE)
    (folder / "eve_t1.nii.gz").write_bytes((folder / "bob_t1.nii.gz").read_bytes()[:9000])
    (folder / "in.csv").write_text(
        "scan,age,group,region,session\nsub-ann_ses-1_T1w.nii.gz,41,=patient,north,\n"
        "sub-ann_ses-1_FLAIR.nii.gz,41,=patient,north,\nsub-ann_ses-2_T1w.nii.gz,42,=patient,north,\n"
        "bob_t1.nii.gz,33,control,south,first\neve_t1.nii.gz,50,control,south,\n"
    )
    invoke("segment", folder / "in.csv", "-m", model_file, "-o", folder / "out", code=3)
    return folder / "out"


def summaries(cohort):
    """Return the content of each scan's JSON, by its name in the cohort table."""
    return {row["scores"]: json.loads((cohort / row["scores"]).read_text()) for row in rows(cohort / "cohort.csv")
            if row["scores"]}  # fmt: skip


def test_a_row_of_the_findings_is_a_finding_of_a_json(cohort):
    found = read(cohort / "findings.tsv")
    expected = [(name, of) for name, one in summaries(cohort).items() for of in one["masks"]["combi"]["findings"]]
    assert len(found) == len(expected) >= 3
    for row, (scores, finding) in zip(found, expected, strict=True):
        assert (row["scores"], int(row["number"]), row["sign"]) == (scores, finding["number"], finding["sign"])
        assert float(row["volume_ml"]) == pytest.approx(finding["volume_ml"], rel=1e-5)
        assert float(row["strength"]) == pytest.approx(finding["strength"], rel=1e-5)
        point = [float(row[f"peak_{axis}_mm"]) for axis in "xyz"]
        assert point == pytest.approx(finding["peak_ras_mm"], abs=1e-3)
        assert [row[flag] for flag in ("symmetric", "fluid", "edge")] == [
            "n/a" if finding[flag] is None else str(finding[flag]) for flag in ("symmetric", "fluid", "edge")
        ]
        if way := summaries(cohort)[scores]["ras2mni_mm"]:
            mni = [float(row[f"mni_{axis}_mm"]) for axis in "xyz"]
            assert mni == pytest.approx((np.array(way) @ [*finding["peak_ras_mm"], 1])[:3], abs=1e-3)


def test_a_person_and_session_is_a_row_with_the_joint_findings_where_there_are_any(cohort):
    people = {(row["subject"], row["session"]): row for row in read(cohort / "people.tsv")}
    assert list(people) == [("sub-ann", "1"), ("sub-ann", "2"), ("bob", "first"), ("eve", "n/a")]
    person = json.loads((cohort / "sub-ann_ses-1_desc-person_scores.json").read_text())["masks"]["combi"]
    first, second, bob, eve = people.values()
    assert (first["joint"], int(first["findings"])) == ("True", len(person["findings"]))
    assert float(first["marked_ml"]) == pytest.approx(person["volume_ml"], rel=1e-5)
    assert first["strongest"] == person["findings"][0]["words"]
    alone = summaries(cohort)["sub-ann_ses-2_T1w_scores.json"]["masks"]["combi"]
    assert (second["joint"], int(second["findings"])) == ("False", len(alone["findings"]))
    assert (second["t1_findings"], second["flair_findings"]) == (second["findings"], "n/a")
    assert (bob["failed"], eve["failed"], eve["findings"], eve["age"]) == ("0", "1", "n/a", "50")


def test_a_finding_names_that_of_the_person_which_it_is_part_of(cohort):
    person = json.loads((cohort / "sub-ann_ses-1_desc-person_scores.json").read_text())["masks"]["combi"]
    parts = sum(len(finding["seen"]) for finding in person["findings"])
    numbered = [row["person_finding"] for row in read(cohort / "findings.tsv") if row["person_finding"] != "n/a"]
    assert len(numbered) == parts > 0
    assert set(numbered) == {str(finding["number"]) for finding in person["findings"]}


def test_the_regions_of_a_scan_add_up_to_its_marked_volume(cohort):
    burden = {row["scores"]: row for row in read(cohort / "burden.tsv")}
    assert burden.keys() == summaries(cohort).keys()
    for scores, content in summaries(cohort).items():
        mask, row = content["masks"]["combi"], burden[scores]
        assert sum(mask["regions_ml"].values()) == pytest.approx(mask["volume_ml"])
        named = {name: float(row[name]) for name in [of.words for of in regions().values()] + ["elsewhere"]}
        assert {name: ml for name, ml in named.items() if ml} == pytest.approx(mask["regions_ml"], rel=1e-5)


def test_the_columns_of_one_s_own_table_come_along_and_are_not_read_as_ours(cohort):
    for name in GROUP_TABLES:
        row = read(cohort / f"{name}.tsv")[0]
        assert (row["age"], row["group"], row["given_region"]) == ("41", "'=patient", "north")
    table = rows(cohort / "cohort.csv")
    assert [row["age"] for row in table] == ["41", "41", "42", "33", "50"]


def test_a_cohort_table_fed_back_carries_the_same_columns(cohort, tmp_path, small_model):
    invoke("score", cohort / "cohort.csv", "-m", small_model, "-o", tmp_path, code=3)
    again, before = (rows(folder / "cohort.csv") for folder in (tmp_path, cohort))
    own = ("age", "group", "region", "session")
    assert [[row[name] for name in own] for row in again] == [[row[name] for name in own] for row in before]
    assert list(again[0]).count("status") == 1
    assert not TABLES & names(tmp_path)


def test_each_column_is_described(cohort):
    for name in GROUP_TABLES:
        about = json.loads((cohort / f"{name}.json").read_text())
        assert list(about) == list(read(cohort / f"{name}.tsv")[0])
        assert all(entry["Description"] for entry in about.values())
        units = {column for column, entry in about.items() if "Units" in entry}
        assert {column for column in about if column.endswith(("_ml", "_mm"))} <= units


def test_tables_without_a_finding_left_go_and_those_of_another_maker_stay(
    mixed_folder, tmp_path, small_model, monkeypatch, capsys
):
    arguments = [mixed_folder, "-m", small_model, "-o", tmp_path / "out"]
    invoke("segment", *arguments, "--threshold", "3", code=3)
    assert names(tmp_path / "out") >= TABLES
    (tmp_path / "out/people.tsv").write_text("name\tphone\n")
    code, said = run(monkeypatch, capsys, "segment", *arguments, "--threshold", "3")
    assert code == 4
    assert "people.tsv: is there already and vae-loc did not write it" in said.err
    invoke("score", *arguments, "--raw", code=3)
    assert names(tmp_path / "out") & TABLES == {"people.tsv"}
    assert (tmp_path / "out/people.tsv").read_text() == "name\tphone\n"
