"""A person's result is made of what was written of each scan, by any way of running, and never out of date."""

import csv
import json
import re
import shutil
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import pytest
from support import browser as chromium
from support.commands import invoke, names, run
from support.html import Tags
from support.phantoms import AFFINE, BALL, SHAPE, centred, phantom, save

from vae_loc.results.cohort_table import Entry
from vae_loc.results.output_names import FolderNames
from vae_loc.results.persons.person_outputs import write_persons
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.score_options import RunOptions
from vae_loc.system.writing import write_atomically

COARSE_SHAPE = (44, 50, 24)
COARSE = centred(np.diag([4.0, 4.0, 6.0]), COARSE_SHAPE)
PAGE = "ann_desc-person_report.html"  # with --report alone
MADE = {
    PAGE,
    "ann_desc-person_scores.json",
    "ann_desc-personcombi_anomaly.nii.gz",
    "ann_desc-personcombi_dseg.nii.gz",
    "ann_desc-personcombi_dseg.tsv",
}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """Ann's T1, and her FLAIR of other voxels, with the same bright ball; Bob has a T1 alone."""
    folder = tmp_path_factory.mktemp("people")
    ball = {"ball": BALL, "radius_mm": 16, "gain": 2.5}
    save(folder / "ann_t1.nii.gz", phantom(AFFINE, SHAPE, **ball)[0], AFFINE)
    save(folder / "ann_flair.nii.gz", phantom(COARSE, COARSE_SHAPE, **ball)[0], COARSE)
    save(folder / "bob_t1.nii.gz", phantom(AFFINE, SHAPE, seed=0.2)[0], AFFINE)
    return folder


@pytest.fixture(scope="module")
def segmented(scans, model_file, tmp_path_factory):
    """The outputs of all, by one process; copy before you change them."""
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "sys.argv", ["vae-loc", "segment", str(scans), "-m", str(model_file), "-o", str(out), "-q", "--report"]
        )
        from vae_loc.cli.app import main

        with pytest.raises(SystemExit) as ended:
            main()
    assert ended.value.code == 0
    return out


@pytest.fixture
def out(segmented, tmp_path):
    return shutil.copytree(segmented, tmp_path / "out")


def of_persons(folder):
    return {name for name in names(folder) if "desc-person" in name}


def test_a_person_with_two_contrasts_has_one_result_on_the_grid_of_the_t1(segmented, scans):
    assert of_persons(segmented) == MADE
    first = nib.load(scans / "ann_t1.nii.gz")
    numbers = nib.load(segmented / "ann_desc-personcombi_dseg.nii.gz")
    assert numbers.shape == SHAPE
    assert np.array_equal(numbers.affine, first.affine)
    content = json.loads((segmented / "ann_desc-person_scores.json").read_text())
    assert [scan["contrast"] for scan in content["scans"]] == ["t1", "flair"]
    strongest = content["masks"]["combi"]["findings"][0]
    assert {one["contrast"] for one in strongest["seen"]} == {"t1", "flair"}
    assert {one["sign"] for one in strongest["seen"]} == {"brighter"}
    assert np.linalg.norm(np.subtract(strongest["peak_ras_mm"], BALL)) < 16
    inside = np.asarray(numbers.dataobj) == 1
    voxels = np.stack(np.indices(SHAPE), -1)
    ball = np.linalg.norm(voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3] - BALL, axis=-1) < 16
    assert inside[ball].mean() > 0.8
    assert strongest["volume_ml"] == pytest.approx(inside.sum() * 4**3 / 1000)


def test_the_page_of_a_person_leads_to_those_of_the_scans_and_the_cohort_s_leads_to_it(segmented):
    page = Tags((segmented / "ann_desc-person_report.html").read_text())
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert {"ann_t1_report.html", "ann_flair_report.html"} <= links
    assert {link.partition("#")[0] for link in links} <= names(segmented)
    assert len([tag for tag, _ in page.tags if tag == "img"]) == 1
    assert "T1: brighter" in page.text
    assert "T1 ann_t1.nii.gz, FLAIR ann_flair.nii.gz" in page.text
    assert "FLAIR: brighter" in page.text
    cohort = Tags((segmented / "cohort.html").read_text())
    assert "ann_desc-person_report.html" in {attributes.get("href") for tag, attributes in cohort.tags if tag == "a"}


@pytest.fixture(scope="module")
def shown(segmented):
    """A browser with the page of Ann."""
    found = chromium.start()
    chromium.resize(found, *chromium.LAPTOP)
    chromium.visit(found, segmented / PAGE)
    yield found
    found.quit()


def test_a_screen_reader_finds_its_way_on_the_page_of_a_person(shown):
    assert shown.execute_script("return document.body.dataset.viewer") == "ready"
    assert chromium.violations(shown) == []
    assert chromium.complaints(shown) == []


def test_the_page_of_a_person_is_one_screen_with_the_contrasts_side_by_side(shown):
    size = "const e = document.scrollingElement; return [e.scrollWidth, e.scrollHeight]"
    assert shown.execute_script(size) == list(chromium.LAPTOP)
    first, second = (canvas.rect for canvas in shown.find_elements("css selector", "#stage canvas"))
    assert first["x"] + first["width"] <= second["x"]
    assert first["y"] == second["y"]
    assert [name.text for name in shown.find_elements("css selector", "#stage .name")] == ["T1", "FLAIR"]


def seen(shown):
    return [canvas.screenshot_as_png for canvas in shown.find_elements("css selector", "#stage canvas")]


def test_a_link_of_the_list_moves_all_contrasts_and_the_number_is_beside_the_outline_in_each(shown, segmented):
    first, *_ = [b for b in shown.find_elements("css selector", "button.go") if b.is_displayed()]
    shown.find_element("css selector", "#stage canvas").click()  # somewhere else
    before = seen(shown)
    first.click()
    chromium.until(lambda: all(one != other for one, other in zip(seen(shown), before, strict=True)))
    wanted = [float(v) for v in first.get_attribute("data-ras").split()]
    said = shown.find_element("id", "location").text
    assert np.allclose([float(v) for v in re.findall(r"-?\d+\.\d", said)[:3]], wanted, atol=0.1)
    assert said.endswith("finding 1")
    for cell in shown.find_elements("css selector", "#stage .cell"):
        assert [span.text for span in cell.find_elements("css selector", ".own")] == ["1"]


@pytest.mark.full
def test_the_page_of_a_person_shows_combi_first_whatever_else_there_is(scans, model_file, tmp_path):
    invoke("segment", scans / "ann_t1.nii.gz", scans / "ann_flair.nii.gz", "-m", model_file, "-o", tmp_path / "o",
           "--method", "combi", "--method", "rec-error", "--report")  # fmt: skip
    text = (tmp_path / "o" / PAGE).read_text()
    maps = json.loads(re.search(r'id="viewer-data">(.*?)</script>', text, re.S)[1])["maps"]
    assert [map["method"] for map in maps] == ["combi", "rec-error"]
    assert re.findall(r"<h2>Findings of all contrasts together, (.*?)</h2>", text) == ["combi", "rec-error"]


def test_a_person_has_no_page_where_the_scans_have_none_and_the_json_of_a_run_lists_the_files(
    scans, model_file, tmp_path, monkeypatch, capsys
):
    code, said = run(monkeypatch, capsys, "segment", scans, "-m", model_file, "-o", tmp_path / "o", "--json")
    assert code == 0
    assert of_persons(tmp_path / "o") == MADE - {PAGE}
    assert json.loads(said.out)["persons"].keys() == {"ann"}
    assert {path.rpartition("/")[2] for path in json.loads(said.out)["persons"]["ann"]} == MADE - {PAGE}


def test_only_findings_that_share_the_false_findings_count(segmented):
    mask = json.loads((segmented / "ann_desc-person_scores.json").read_text())["masks"]["combi"]
    assert (mask["false_findings"], mask["per_scan"]) == (2.0, {"t1": 1.0, "flair": 1.0})  # the model has one scan
    for finding in mask["findings"]:
        rates = [one["false_findings"] for one in finding["seen"]]
        assert max(rates) <= 1
        assert finding["false_findings"] == pytest.approx(2 * min(rates))


def test_the_table_has_a_row_for_each_finding(segmented):
    with open(segmented / "ann_desc-personcombi_dseg.tsv", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = json.loads((segmented / "ann_desc-person_scores.json").read_text())["masks"]["combi"]["findings"]
    assert [row["words"] for row in rows] == [finding["words"] for finding in found]
    assert set(rows[0]["contrasts"].split(",")) == {"t1", "flair"}


def test_the_cohort_page_names_the_people(segmented):
    page = (segmented / "cohort.html").read_text()
    assert "People with several contrasts" in page
    assert page.count("t1, flair") == 1


@pytest.mark.full
def test_worker_processes_and_shards_leave_the_same_bytes(segmented, scans, model_file, tmp_path, monkeypatch, capsys):
    common = ["segment", scans, "-m", model_file, "-q", "--report", "-o"]
    assert run(monkeypatch, capsys, *common, tmp_path / "jobs", "--jobs", "2")[0] == 0
    for part in (1, 2):
        assert run(monkeypatch, capsys, *common, tmp_path / "parts", "--shard", f"{part}/2")[0] == 0
        assert of_persons(tmp_path / "parts") == (MADE if part == 2 else set())
    for folder in ("jobs", "parts"):
        for name in MADE:
            assert (tmp_path / folder / name).read_bytes() == (segmented / name).read_bytes()


@pytest.mark.full
def test_worker_processes_merge_several_people(segmented, scans, model_file, tmp_path, monkeypatch, capsys):
    place = shutil.copytree(scans, tmp_path / "in")
    for contrast in ("t1", "flair"):
        shutil.copy(place / f"ann_{contrast}.nii.gz", place / f"dee_{contrast}.nii.gz")
    arguments = ["segment", place, "-m", model_file, "-q", "--report", "-o", tmp_path / "o", "--jobs", "2"]
    assert run(monkeypatch, capsys, *arguments)[0] == 0
    for name in MADE - {"ann_desc-person_scores.json", PAGE}:  # these state the scans' paths and names
        for person in ("ann", "dee"):
            assert (tmp_path / "o" / name.replace("ann", person)).read_bytes() == (segmented / name).read_bytes()


def test_skipping_leaves_whole_results_alone_and_mends_others(out, scans, model_file, monkeypatch, capsys):
    common = ["segment", scans, "-m", model_file, "--report", "-o", out, "--skip-existing"]
    before = {name: (out / name).stat().st_mtime_ns for name in MADE}
    code, said = run(monkeypatch, capsys, *common)
    assert (code, "together" in said.err) == (0, False)
    assert {name: (out / name).stat().st_mtime_ns for name in MADE} == before
    whole = (out / "ann_desc-personcombi_dseg.nii.gz").read_bytes()
    (out / "ann_desc-personcombi_dseg.nii.gz").write_bytes(whole[:-1])
    code, said = run(monkeypatch, capsys, *common)
    assert (code, said.err.count("ann, t1, flair together: ")) == (0, 1)
    assert (out / "ann_desc-personcombi_dseg.nii.gz").read_bytes() == whole


@pytest.mark.parametrize(
    "options",
    [["segment", "--no-persons"], ["score"], ["score", "--method", "all"], ["segment"]],
    ids=" ".join,
)
@pytest.mark.full
def test_a_result_of_a_person_stays_as_long_as_it_is_true(options, out, scans, model_file, monkeypatch, capsys):
    before = {name: (out / name).read_bytes() for name in MADE if not name.endswith("scores.json")}
    assert run(monkeypatch, capsys, *options, scans, "-m", model_file, "-o", out, "-q")[0] == 0
    assert {name: (out / name).read_bytes() for name in before} == before


@pytest.mark.full
@pytest.mark.parametrize(
    "options",
    [["score", "--polarity", "dark"], *(["segment", *of] for of in (["--threshold", "2"], ["--fpr", "0.05"]))],
    ids=" ".join,
)
def test_a_run_that_contradicts_the_result_of_a_person_removes_it(options, out, scans, model_file, monkeypatch, capsys):
    assert run(monkeypatch, capsys, *options, scans, "-m", model_file, "-o", out, "-q")[0] == 0
    assert of_persons(out) == set()


@pytest.mark.full
def test_a_file_that_someone_changed_is_not_removed(out, scans, model_file, monkeypatch, capsys):
    (out / "ann_desc-personcombi_dseg.tsv").write_text("corrected by a reader\n")
    run(monkeypatch, capsys, "segment", scans, "-m", model_file, "-o", out, "-q", "--fpr", "0.05")
    assert of_persons(out) == {"ann_desc-personcombi_dseg.tsv"}


@pytest.mark.full
def test_a_scan_scored_again_alone_keeps_the_result_of_the_person_unless_it_changes(
    out, scans, model_file, monkeypatch, capsys
):
    alone = ["segment", scans / "ann_t1.nii.gz", "-m", model_file, "-q", "--report", "-o", out]
    assert run(monkeypatch, capsys, *alone)[0] == 0
    assert of_persons(out) == MADE
    assert run(monkeypatch, capsys, *alone, "--false-findings", "0.5")[0] == 0
    assert of_persons(out) == set()


@pytest.mark.full
def test_more_false_findings_are_shared_alike(out, scans, model_file, monkeypatch, capsys):
    options = ["segment", scans, "-m", model_file, "-q", "-o", out, "--false-findings", "1"]
    assert run(monkeypatch, capsys, *options)[0] == 0
    mask = json.loads((out / "ann_desc-person_scores.json").read_text())["masks"]["combi"]
    assert (mask["false_findings"], mask["per_scan"]) == (2.0, {"t1": 1.0, "flair": 1.0})


@pytest.mark.full
def test_a_scan_that_fails_leaves_no_result_of_its_person(scans, model_file, tmp_path, monkeypatch, capsys):
    place = shutil.copytree(scans, tmp_path / "in")
    whole = (place / "ann_flair.nii.gz").read_bytes()
    (place / "ann_flair.nii.gz").write_bytes(whole[: len(whole) // 2])
    assert run(monkeypatch, capsys, "segment", place, "-m", model_file, "-o", tmp_path / "o", "-q")[0] == 3
    assert of_persons(tmp_path / "o") == set()


@pytest.mark.full
def test_a_flair_of_another_origin_is_merged_through_the_mean_brain(scans, model_file, tmp_path, monkeypatch, capsys):
    place = shutil.copytree(scans, tmp_path / "in")
    flair = nib.load(place / "ann_flair.nii.gz")
    shifted = flair.affine.copy()
    shifted[:3, 3] += (30, -12, 8)
    save(place / "ann_flair.nii.gz", np.asarray(flair.dataobj), shifted)
    code, _ = run(monkeypatch, capsys, "segment", place, "-m", model_file, "-o", tmp_path / "o")
    content = json.loads((tmp_path / "o" / "ann_desc-person_scores.json").read_text())
    assert code == 0
    assert [scan["through_template"] for scan in content["scans"]] == [False, True]
    assert content["scans"][1]["off_mm"] == pytest.approx(33.3, abs=2)
    assert "the person moved, or a header is wrong" in content["warnings"][0]
    strongest = content["masks"]["combi"]["findings"][0]
    assert {one["contrast"] for one in strongest["seen"]} == {"t1", "flair"}


def test_a_bids_session_of_several_contrasts_has_one_result_with_a_sidecar(derivatives):
    made = {path.relative_to(derivatives).as_posix() for path in derivatives.rglob("*desc-person*")}
    kinds = ("combi_anomaly.nii.gz", "_report.html", "_scores.json",
             "findings_dseg.nii.gz", "findings_dseg.tsv", "findings_dseg.json")  # fmt: skip
    assert made == {f"sub-01/anat/sub-01_desc-person{kind}" for kind in kinds}
    sidecar = json.loads((derivatives / "sub-01/anat/sub-01_desc-personfindings_dseg.json").read_text())
    raw = [f"bids:raw:sub-01/anat/sub-01_{suffix}.nii" for suffix in ("T1w", "FLAIR")]
    assert (sidecar["Sources"], sidecar["SpatialReference"]) == (raw, raw[0])


def test_a_result_that_cannot_be_made_is_said_and_costs_its_person_alone(
    out, scans, model_file, tmp_path, monkeypatch, capsys
):
    (out / "ann_desc-personcombi_dseg.tsv").unlink()
    (out / "ann_desc-personcombi_dseg.tsv").mkdir()
    log = tmp_path / "log.jsonl"
    arguments = ["segment", scans, "-m", model_file, "-o", out, "--report", "--skip-existing", "--log-json", log]
    before = {name: (out / name).read_bytes() for name in MADE if (out / name).is_file()}
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 3
    (line,) = [line for line in said.err.splitlines() if line.startswith("vae-loc: ")]
    assert line.startswith("vae-loc: no result for ann: ")
    assert "ann_desc-personcombi_dseg.tsv: could not be written" in line
    assert {name: (out / name).read_bytes() for name in before} == before
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert [event["status"] for event in events if event["event"] == "scan"] == ["skipped"] * 3
    assert [event["status"] for event in events if event["event"] == "person"] == ["failed"]


@dataclass(frozen=True)
class Careless(FolderNames):
    """Names of a folder into which a file of a person is written that they do not declare."""

    def person_companions(self, person, methods):
        write_atomically(self.folder / "more.txt", b"x")


def test_a_file_of_a_person_that_the_names_do_not_declare_is_a_bug_of_ours_and_nothing_is_written(out, scans):
    for name in MADE:
        (out / name).unlink()
    entries = [Entry(case, "skipped", None, FolderNames(out, None).scores(case.scan)) for case in find_cases([scans])]
    cases = [entry.case for entry in entries]
    (result,) = write_persons(cases, entries, Careless(out, None), RunOptions())
    assert "more.txt is written, and the output names do not declare it" in result.error
    assert of_persons(out) == set()
    assert not (out / "more.txt").exists()
    assert write_persons(cases, entries, FolderNames(out, None), RunOptions())[0].written
