"""The page of a cohort table: it sorts and finds in a browser, and what it quotes is text."""

import io
import json

import pytest
from support import browser as chromium
from support.html import Tags

from vae_loc.results.cohort_page import cohort_page
from vae_loc.results.scan_summary import VOLUME_RULE, Inputs, ModelSummary, SampleValues, ScanSummary
from vae_loc.system.reading import to_csv
from vae_loc.vocabulary import RESEARCH_ONLY, SAMPLE_SCORES

HOSTILE = "<script>alert(1)<!--&\"'"


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
        "combi_lesion_ml": 30.0,
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
    (folder / "cohort.html").write_bytes(cohort_page(folder / "cohort.csv"))
    return folder / "cohort.html"


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
