"""The cohort table: its columns, and that it is a list of scans too; its page sorts and finds in a browser."""

import io
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support import browser as chromium
from support.commands import names, rows, run
from support.html import Tags

from vae_loc.results.cohort_table import SCHEMA_VERSION, Entry, write_page
from vae_loc.results.scan_summary import VOLUME_RULE, Inputs, ModelSummary, SampleValues, ScanSummary
from vae_loc.scans.cases import Case, find_cases
from vae_loc.system.reading import to_csv
from vae_loc.vocabulary import RESEARCH_ONLY, SAMPLE_SCORES

HOSTILE = "<script>alert(1)<!--&\"'"


def test_the_documented_columns_are_those_of_the_table(request, tmp_path):
    page = (request.config.rootpath / "docs/how-to/cohorts.md").read_text()
    page = page.split("## The cohort table")[1].split("\n## ")[0]
    documented = [
        cell.strip("`") for line in page.splitlines() if line.startswith("| `") for cell in line.split("|")[1].split()
    ]
    row = Entry(Case(Path("a.nii"), "a", None), "failed", 0.0).row(tmp_path, ["combi"])
    assert [name.replace("combi_", "<map>_") for name in row] == documented


def test_each_row_states_the_schema_and_a_failed_scan_has_empty_cells(tmp_path):
    entry = Entry(Case(Path("a.nii"), "a", None, "t2"), "failed", 1.234, error="a.nii: gone", exit_code=4)
    cells = entry.row(tmp_path, ["combi"])
    assert list(cells)[-1] == "schema_version"
    known = {name: value for name, value in cells.items() if value is not None}
    stated = {"subject": "a", "contrast": "t2", "status": "failed", "error": "a.nii: gone", "seconds": 1.23}
    assert known == {"scan": str(Path("a.nii").absolute()), **stated, "schema_version": SCHEMA_VERSION}


def test_a_table_written_is_a_list_of_scans_to_read(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    run(monkeypatch, capsys, "score", mixed_folder, "-m", small_model, "-o", tmp_path / "out")
    assert [case.scan.name for case in find_cases([tmp_path / "out" / "cohort.csv"])] == sorted(names(mixed_folder))


def test_a_table_fed_back_keeps_the_masks(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    scan, mask = mixed_folder / "sub0_t1.nii.gz", tmp_path / "my mask.nii.gz"
    image = nib.load(scan)
    nib.save(nib.Nifti1Image((image.get_fdata() > 0).astype(np.uint8), image.affine), mask)
    (tmp_path / "in.csv").write_text(f"scan,mask\n{scan},{mask}\n{mixed_folder / 'sub1_t1.nii.gz'},\n")
    run(monkeypatch, capsys, "score", tmp_path / "in.csv", "-m", small_model, "-o", tmp_path / "out")
    assert [case.brain_mask for case in find_cases([tmp_path / "out" / "cohort.csv"])] == [mask, None]
    run(monkeypatch, capsys, "score", tmp_path / "out/cohort.csv", "-m", small_model, "-o", tmp_path / "again")
    assert [row["brain_mask"] for row in rows(tmp_path / "again/cohort.csv")] == ["file", "skull-stripped"]


def test_the_mask_of_an_option_is_the_table_s_too(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    image = nib.load(mixed_folder / "sub0_t1.nii.gz")
    nib.save(nib.Nifti1Image((image.get_fdata() > 0).astype(np.uint8), image.affine), tmp_path / "m.nii.gz")
    arguments = ["score", mixed_folder, "-m", small_model, "-o", tmp_path / "out"]
    run(monkeypatch, capsys, *arguments, "--brain-mask", tmp_path / "m.nii.gz")
    assert [row["mask"] for row in rows(tmp_path / "out/cohort.csv") if row["status"] == "done"] == [
        str(tmp_path / "m.nii.gz")
    ] * 3


def summary_with(files):
    """The scores of a scan that left these files."""
    sample = {f"{name}{end}": 1.0 for name in SAMPLE_SCORES for end in ("", "_percentile")}
    return ScanSummary(
        scan="b 1%.nii.gz",
        volume=SampleValues(**sample),
        volume_rule=VOLUME_RULE,
        slices=[],
        brain_ml=1200.0,
        brain_mask="skull-stripped",
        maps={},
        warnings=[],
        model=ModelSummary(sha256="0", contrast="t1", seed=0, healthy_subjects=1),
        versions={},
        use=RESEARCH_ONLY,
        inputs=Inputs(scan="0", brain_mask=None),
        options={},
        files=files,
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Three scans: one with everything, one without numbers that failed, one whose outputs are gone."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("cohort")
    buffer = io.BytesIO()
    Image.new("RGB", (600, 500), "teal").save(buffer, "PNG")
    (folder / "b 1%_desc-combi_anomaly.png").write_bytes(buffer.getvalue())
    (folder / "b 1%_report.html").write_text("<title>b</title>")
    files = {"b 1%_desc-combi_anomaly.png": "", "b 1%_report.html": ""}
    (folder / "b 1%_scores.json").write_text(json.dumps(summary_with(files).content()))
    numbers = {
        "elbo_percentile": 9.5,
        "combi_flagged": 0.1,
        "combi_marked_ml": 30.0,
        "combi_findings": 4,
        "combi_strength": 12.5,
        "combi_strongest": "3 ml, darker than expected",
        "brain_ml": 1200,
    }
    rows = [
        {"scan": "/x/b 1%.nii.gz", "subject": "b", "contrast": "flair", "status": "done",
         "scores": "b 1%_scores.json", "error": None, "warnings": "odd", **numbers},
        {"scan": f"/x/{HOSTILE}.nii", "subject": HOSTILE, "status": "failed", "error": f"{HOSTILE}: damaged"},
        {"scan": "/x/a.nii.gz", "subject": "a", "status": "done", "scores": "gone.json", **numbers,
         "combi_strength": 80.25},
    ]  # fmt: skip
    (folder / "cohort.csv").write_bytes(to_csv(rows))
    return write_page(folder / "cohort.csv")


@pytest.fixture(scope="module")
def shown(page):
    found = chromium.start([])
    chromium.visit(found, page)
    yield found
    found.quit()


def column(shown, number):
    return [
        row.find_elements("css selector", "td")[number].text for row in shown.find_elements("css selector", "tbody tr")
    ]


def test_what_the_table_says_is_text(page):
    found = Tags(page.read_text())
    assert f"{HOSTILE}.nii" in found.text
    assert sum(tag == "script" for tag, _ in found.tags) == 1


def test_a_link_leads_to_the_scan_s_page(shown, page):
    (link,) = shown.find_elements("css selector", "tbody a")
    link.click()
    chromium.until(lambda: shown.title == "b")
    chromium.visit(shown, page)


def test_a_heading_sorts_and_empty_cells_stay_last(shown):
    heading = next(b for b in shown.find_elements("css selector", "th button") if b.text.startswith("Strength"))
    heading.click()
    assert column(shown, 4) == ["12.5", "80.2", ""]
    heading.click()
    assert column(shown, 4) == ["80.2", "12.5", ""]


def test_find_hides_the_others(shown):
    field = shown.find_element("id", "find")
    field.send_keys("DAMAGED")
    visible = [row for row in shown.find_elements("css selector", "tbody tr") if row.is_displayed()]
    assert len(visible) == 1
    assert "1 of 3" in shown.find_element("id", "shown").text


@pytest.mark.parametrize(("only", "count"), [("failed", 1), ("warned", 1), ("found", 2), ("nothing", 0), ("", 3)])
def test_scans_of_one_kind_are_shown_alone(page, shown, only, count):
    chromium.visit(shown, page)
    choose = "const s = document.getElementById('only'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))"
    shown.execute_script(choose, only)
    visible = [row for row in shown.find_elements("css selector", "tbody tr") if row.is_displayed()]
    assert len(visible) == count
    assert shown.find_element("id", "shown").text == (f"{count} of 3" if only else "")


def test_the_page_asks_for_nothing(shown, page):
    chromium.requests(shown)
    chromium.visit(shown, page)
    assert [url for url in chromium.requests(shown) if not url.startswith(("data:", page.as_uri()))] == []
    assert chromium.complaints(shown) == []


def test_each_scan_has_its_contrast(shown):
    assert sorted(column(shown, 2)) == ["", "", "FLAIR"]


def test_a_screen_reader_finds_its_way(shown, page):
    chromium.visit(shown, page)
    assert chromium.violations(shown) == []


@pytest.mark.parametrize("width", [500, 1500])
def test_the_page_fits_narrow_and_wide_windows(shown, width):
    shown.set_window_size(width, 800)
    assert shown.execute_script("return document.scrollingElement.scrollWidth <= window.innerWidth")


def test_no_column_is_cut_at_1280_pixels(shown):
    chromium.resize(shown, 1280, 800)
    cut = "[...document.querySelectorAll('.scroll')].some((e) => e.scrollWidth > e.clientWidth)"
    assert not shown.execute_script(f"return {cut}")
