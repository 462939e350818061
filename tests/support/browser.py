"""Headless Chromium for the tests of pages: Debian's packages chromium and chromium-driver."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import pytest

OFFLINE = [
    "--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--window-size=700,700",
]  # fmt: skip
SOFTWARE_GL = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
WITHOUT_GL = ["--disable-3d-apis"]
AXE = Path(__file__).parent / "vendor" / "axe" / "axe.min.js"
LAPTOP = 1366, 768  # pixels of a page
PATIENCE_S = 180  # WebGL in software on a busy machine took 55


def start(extra=SOFTWARE_GL):
    """Return a browser, or skip the test where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (binary and driver):
        pytest.skip("needs chromium and chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in [*OFFLINE, *extra]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))


def visit(browser, path):
    """Open a page of the disk and wait until its script says that it is done."""
    browser.get(path.as_uri())
    until(lambda: browser.execute_script("return document.body.dataset.viewer"))


def until(true):
    end = time.monotonic() + PATIENCE_S
    while not (found := true()):
        assert time.monotonic() < end, "the page did not get there"
        time.sleep(0.05)
    return found


def requests(browser):
    """What the page asked for since the last call."""
    messages = (json.loads(entry["message"])["message"] for entry in browser.get_log("performance"))
    return [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]


def complaints(browser):
    return [entry["message"] for entry in browser.get_log("browser")]


def violations(browser):
    """What axe-core, a judge of accessibility, has against the page: rule, and where."""
    browser.execute_script(AXE.read_text())
    return browser.execute_async_script(
        "const done = arguments[0];"
        "axe.run().then(({ violations }) => done(violations.map((v) => [v.id, v.nodes.map((n) => n.html)])))"
    )


def drawn(browser, selector):
    """Return whether the first element of a selector is drawn, with a size; what is folded away is not."""
    return browser.execute_script(
        "const e = document.querySelector(arguments[0]);"
        "return e.checkVisibility({ contentVisibilityAuto: true }) && e.getBoundingClientRect().height > 0",
        selector,
    )


def resize(browser, width, height):
    """Give the page's window a size, whatever frames the browser has."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
    )
