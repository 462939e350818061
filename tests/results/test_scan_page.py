"""The report of a scan: one file that shows what was found, in a browser without a network."""

import base64
import gzip
import io
import json
import re
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from support import browser as chromium
from support.commands import invoke
from support.html import Tags
from support.phantoms import AFFINE, BALL, SHAPE, phantom, save

HOSTILE = "<img src=x onerror=alert(1)>&\"'{{7*7}}_t1"


@pytest.fixture(scope="module")
def page(tmp_path_factory, model_file):
    """The report of a phantom with a bright ball, whose file name is HTML."""
    folder = tmp_path_factory.mktemp("page")
    scan = save(folder / f"{HOSTILE}.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=3)[0], AFFINE)
    invoke("segment", scan, "-m", model_file, "-o", folder / "out", "--report", "--fpr", "0.01", "--method", "all")
    (found,) = (folder / "out").glob("*_report.html")
    return found


@pytest.fixture(scope="module")
def shown(page):
    """A browser with the page."""
    found = chromium.start()
    chromium.resize(found, *chromium.LAPTOP)
    chromium.visit(found, page)
    yield found
    found.quit()


def test_a_file_name_is_text_and_never_markup(page):
    found = Tags(page.read_text())
    assert f"{HOSTILE}.nii.gz" in found.text
    images = [attributes for tag, attributes in found.tags if tag == "img"]
    assert len(images) == 5
    assert all(image["src"].startswith("data:image/jpeg;base64,") for image in images)
    assert sum(tag == "script" for tag, _ in found.tags) == 3


def test_the_page_names_nothing_outside_itself(page):
    for _, attributes in Tags(page.read_text()).tags:
        for name in ("src", "href", "action", "data"):
            assert attributes.get(name, "data:").startswith("data:")


def test_the_page_holds_scores_components_warnings_model_and_use(page):
    summary = json.loads(next(page.parent.glob("*_scores.json")).read_text())
    text = " ".join(Tags(page.read_text()).text.split())
    for needed in (
        summary["model"]["sha256"], "Not a medical device", "arXiv:1907.02796", summary["versions"]["vae-loc"],
        f"about {summary['masks']['combi']['volume_ml']:.2g} ml", "Scores against healthy scans", *summary["warnings"],
    ):  # fmt: skip
        assert needed in text


@pytest.mark.full
def test_the_same_scan_gives_the_same_page(page, model_file):
    folder = page.parent.parent
    options = ["--report", "--fpr", "0.01", "--method", "all"]
    invoke("segment", folder / f"{HOSTILE}.nii.gz", "-m", model_file, "-o", folder / "again", *options)
    assert (folder / "again" / page.name).read_bytes() == page.read_bytes()


def test_what_is_embedded_lies_where_the_scan_lies(page):
    content = json.loads(re.search(r'id="viewer-data">(.*?)</script>', page.read_text(), re.S)[1])
    heat = next(map for map in content["maps"] if map["method"] == "combi")["layers"]["brighter"]
    shown = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(heat)))
    written = nib.load(next(page.parent.glob("*_desc-combi_anomaly.nii.gz")))
    at = np.unravel_index(np.argmax(written.get_fdata()), written.shape)
    place = np.linalg.inv(shown.affine) @ written.affine @ [*at, 1]
    step = float(shown.dataobj.slope)
    expected = min(written.get_fdata()[at], 255 * step)  # what lies beyond is shown as the highest
    assert shown.get_fdata()[tuple(place[:3].round().astype(int))] == pytest.approx(expected, abs=step)


def test_the_page_loads_without_errors_or_requests(shown):
    assert shown.execute_script("return document.body.dataset.viewer") == "ready"
    assert chromium.complaints(shown) == []
    asked = chromium.requests(shown)
    assert len([url for url in asked if not url.startswith("data:")]) == 1
    assert asked[0].startswith("file:")


def pixels(shown):
    canvas = shown.find_element("css selector", "#stage canvas")
    shown.execute_script("arguments[0].scrollIntoView({ block: 'center' })", canvas)
    return canvas.screenshot_as_png


def set_slider(shown, name, value):
    shown.execute_script(
        "const s = document.getElementById(arguments[0]); s.value = arguments[1]; s.dispatchEvent(new Event('input'))",
        name,
        value,
    )


def grid(shown):
    """Return the pixels of the viewer, int (rows, columns, 3)."""
    with Image.open(io.BytesIO(pixels(shown))) as picture:
        return np.array(picture.convert("RGB"), dtype=int)


def press_h(shown):
    shown.find_element("tag name", "body").send_keys("h")


@contextmanager
def whole_map(shown):
    """The map is coloured outside of findings too."""
    for pressed in ("true", "false"):
        shown.find_element("tag name", "body").send_keys("m")
        assert shown.find_element("id", "whole").get_attribute("aria-pressed") == pressed
        if pressed == "true":
            yield


def test_below_the_threshold_the_scans_own_grey_is_seen(shown):
    threshold = float(shown.find_element("id", "threshold").get_attribute("value"))
    set_slider(shown, "mask", 0)
    set_slider(shown, "heat", 1)
    press_h(shown)
    scan = grid(shown)
    press_h(shown)
    changed = {}
    with whole_map(shown):
        for value in (0, threshold):
            set_slider(shown, "threshold", value)
            changed[value] = (grid(shown) != scan).any(axis=-1)
    set_slider(shown, "mask", 0.8)
    set_slider(shown, "heat", 0.4)
    assert changed[0].mean() > 0.15
    assert 0 < changed[threshold].mean() < changed[0].mean() / 2


def test_brighter_is_warm_and_darker_is_blue(shown):
    press_h(shown)
    scan = grid(shown)
    press_h(shown)
    set_slider(shown, "mask", 0)
    set_slider(shown, "heat", 1)
    set_slider(shown, "threshold", 0)
    with whole_map(shown):
        red, _, blue = np.moveaxis(grid(shown) - scan, -1, 0)
    set_slider(shown, "mask", 0.8)
    set_slider(shown, "heat", 0.4)
    assert (red - blue > 80).any()
    assert (blue - red > 80).any()


def test_a_key_hides_map_and_outlines_and_brings_them_back(shown):
    before = pixels(shown)
    press_h(shown)
    assert shown.find_element("id", "hide").get_attribute("aria-pressed") == "true"
    assert pixels(shown) != before
    press_h(shown)
    assert pixels(shown) == before


def test_a_key_shows_what_the_model_expected_in_the_windows_of_the_scan(shown):
    press_h(shown)
    scan = grid(shown)
    shown.find_element("tag name", "body").send_keys("e")
    assert shown.find_element("id", "expected").get_attribute("aria-pressed") == "true"
    expected = grid(shown)
    shown.find_element("tag name", "body").send_keys("e")
    assert np.array_equal(grid(shown), scan)
    press_h(shown)
    assert (expected != scan).any(axis=-1).mean() > 0.1
    assert not np.ptp(expected[(expected != scan).any(axis=-1)], axis=-1).all()  # grey


def test_the_head_in_3d_is_shown_on_request(shown):
    before = pixels(shown)
    shown.find_element("id", "render").click()
    assert pixels(shown) != before
    shown.find_element("id", "render").click()
    assert pixels(shown) == before


def test_the_colour_bar_follows_the_threshold(shown):
    set_slider(shown, "threshold", 1)
    shown.find_element("css selector", "#settings summary").click()
    bar, value = shown.find_element("id", "bar"), shown.find_element("id", "threshold-value").text
    assert float(value) == pytest.approx(1, abs=0.1)  # a step of the slider
    assert [place.text for place in bar.find_elements("class name", "floor")] == [value, value]
    assert f"from {value} to" in bar.get_attribute("aria-label")
    for sign, colour in (("brighter", "163, 35, 13"), ("darker", "27, 42, 140")):
        assert colour in bar.find_element("id", f"bar-{sign}").get_attribute("style")
    shown.find_element("css selector", "#settings summary").click()


def test_the_grey_values_can_be_windowed(shown):
    choose = "const s = document.getElementById('window'); s.value = arguments[0]; s.dispatchEvent(new Event('change'))"
    normal = pixels(shown)
    shown.execute_script(choose, "narrow")
    assert pixels(shown) != normal
    shown.execute_script(choose, "normal")
    assert pixels(shown) == normal


def test_the_page_is_one_screen_with_the_axial_slice_first_and_largest(shown):
    size = "const e = document.scrollingElement; return [e.scrollWidth, e.scrollHeight]"
    assert shown.execute_script(size) == list(chromium.LAPTOP)
    (canvas,) = shown.find_elements("css selector", "#stage canvas")
    assert canvas.rect["width"] * canvas.rect["height"] > 0.45 * np.prod(chromium.LAPTOP)
    press_h(shown)
    seen = grid(shown).max(axis=-1) > 30
    press_h(shown)
    axial, others = seen[:, : int(0.62 * seen.shape[1])], seen[:, int(0.62 * seen.shape[1]) :]
    assert axial.any(axis=1).mean() > 0.8
    assert axial.sum() > others.sum()
    for folded in (".settings > div", "img.montage", "svg"):
        assert not chromium.drawn(shown, folded)


def test_a_long_list_scrolls_beside_the_viewer_and_the_page_does_not(shown):
    longer = (
        "const rows = document.querySelector('.list:not([hidden]) tbody');"
        "for (let i = 0; i < 40; i += 1) rows.append(rows.rows[1].cloneNode(true));"
        "const side = document.querySelector('.side');"
        "const found = [document.scrollingElement.scrollHeight, side.scrollHeight > side.clientHeight];"
        "for (let i = 0; i < 40; i += 1) rows.lastElementChild.remove();"
        "return found;"
    )
    assert shown.execute_script(longer) == [chromium.LAPTOP[1], True]


def cyan(pixels):
    return (pixels[..., 1] > 150) & (pixels[..., 2] > 150) & (pixels[..., 0] < 110)


def test_the_number_beside_an_outline_is_that_of_the_list(shown):
    buttons = [b for b in shown.find_elements("css selector", "button.go") if b.is_displayed()]
    assert len(buttons) > 1
    for button in buttons[:3]:
        button.click()
        chromium.until(lambda button=button: button.get_attribute("aria-current") == "true")
        assert shown.find_element("id", "location").text.endswith(f"finding {button.text}")
        (own,) = shown.find_elements("css selector", ".numbers .own")
        assert own.text == button.text
        others = {span.text for span in shown.find_elements("css selector", ".numbers span:not(.own)")}
        assert others <= {b.text for b in buttons} - {button.text}
        # the outline ends where the number begins
        canvas = shown.find_element("css selector", "#stage canvas").rect
        x, y = own.rect["x"] - canvas["x"], own.rect["y"] + own.rect["height"] / 2 - canvas["y"]
        shown.execute_script("arguments[0].style.visibility = 'hidden'", own)
        assert cyan(grid(shown))[int(y) - 8 : int(y) + 8, int(x) - 20 : int(x)].any()


def test_a_link_from_another_page_opens_with_its_finding(shown, page):
    shown.get("about:blank")
    shown.get(f"{page.as_uri()}#finding-2")
    chromium.until(lambda: shown.execute_script("return document.body.dataset.viewer") == "ready")
    assert shown.find_element("id", "location").text.endswith("finding 2")
    chromium.visit(shown, page)


def test_the_flags_of_a_finding_and_what_to_do_next_are_said(page):
    summary = json.loads(next(page.parent.glob("*_scores.json")).read_text())
    text = " ".join(Tags(page.read_text()).text.split())
    said = [finding["words"] for mask in summary["masks"].values() for finding in mask["findings"]]
    for flag, advice in (
        ("on both sides alike", "compare the sides"),
        ("edge of the brain mask", "look whether skull"),
    ):
        assert (flag in text) == (advice in text) == any(flag in words for words in said)
    assert "T1 misses what is small or faint" in text
    assert "FLAIR finds" not in text


def test_a_screen_reader_finds_its_way(shown):
    assert chromium.violations(shown) == []


@pytest.mark.parametrize("width", [500, 1500])
def test_the_page_fits_narrow_and_wide_windows_and_clips_no_finding(shown, width):
    chromium.resize(shown, width, 800)
    try:
        assert shown.execute_script("return document.scrollingElement.scrollWidth <= window.innerWidth")
        lists = "[...document.querySelectorAll('.side .scroll')].every((e) => e.scrollHeight <= e.clientHeight + 1)"
        assert shown.execute_script(f"return {lists}")
    finally:
        chromium.resize(shown, *chromium.LAPTOP)


def test_print_shows_findings_and_slices_without_the_viewer(shown):
    shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        assert not shown.find_element("id", "viewer").is_displayed()
        for needed in (".side table", "img.montage", ".side .more"):
            assert chromium.drawn(shown, needed)
    finally:
        shown.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("slider", ["threshold", "heat", "mask"])
def test_a_slider_changes_pixels(shown, slider):
    set_slider(shown, slider, 0)
    before = pixels(shown)
    set_slider(shown, slider, 0)
    assert pixels(shown) == before
    set_slider(shown, slider, 100)
    assert pixels(shown) != before


def test_a_click_on_a_component_moves_the_crosshair_there(shown):
    buttons = shown.find_elements("css selector", "button.go")
    for button in (buttons[-1], buttons[0]):
        shown.execute_script("arguments[0].click()", button)
        chromium.until(lambda button=button: button.get_attribute("aria-current") == "true")
        wanted = [float(v) for v in button.get_attribute("data-ras").split()]
        found = [float(v) for v in re.findall(r"-?\d+\.\d", shown.find_element("id", "location").text)[:3]]
        assert np.allclose(found, wanted, atol=2.1)  # half a voxel: the viewer rounds to its own


def test_the_other_maps_are_shown_on_request(shown):
    before = pixels(shown)
    shown.execute_script(
        "const s = document.getElementById('method'); s.value = '1'; s.dispatchEvent(new Event('change'))"
    )
    chromium.until(lambda: pixels(shown) != before)


def test_without_webgl_the_slices_remain(page):
    browser = chromium.start(chromium.WITHOUT_GL)
    try:
        chromium.visit(browser, page)
        assert browser.execute_script("return document.body.dataset.viewer") == "none"
        assert browser.find_element("id", "no-viewer").is_displayed()
        assert not browser.find_element("id", "viewer").is_displayed()
        assert chromium.drawn(browser, "img.montage")
        assert chromium.complaints(browser) == []
    finally:
        browser.quit()
