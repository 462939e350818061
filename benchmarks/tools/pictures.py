"""The pictures of README.md and docs/tutorial.md: what the tutorial's commands write for sample_data, as a browser shows it.

    python -m benchmarks.tools.pictures results/

needs Chromium and its driver, as the tests of pages do. `results/` is what the tutorial's second step wrote.
"""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

from PIL import Image

from benchmarks.command import parser_of

ROOT = Path(__file__).resolve().parents[2]
IMAGES = ROOT / "docs" / "images"
SCAN, STROKE, PERSON = "synthetic-mass_t1", "crtut_t2", "patient07"
WIDTH, QUALITY = 1000, 80
SETTLED_S = 2  # a page that says it is ready draws once more


def keep(png: bytes, name: str) -> None:
    """Write a picture for the docs, `WIDTH` pixels wide."""
    with Image.open(io.BytesIO(png)) as picture:
        height = round(picture.height * WIDTH / picture.width)
        picture.convert("RGB").resize((WIDTH, height), Image.Resampling.LANCZOS).save(
            IMAGES / name, "JPEG", quality=QUALITY, optimize=True
        )


def main() -> None:
    """Take the pictures."""
    parser = parser_of(__doc__)
    parser.add_argument("results", type=Path)
    results = parser.parse_args().results.resolve()
    sys.path.insert(0, str(ROOT / "tests"))
    from support import browser as chromium

    IMAGES.mkdir(exist_ok=True)
    keep((results / f"{SCAN}_desc-combi_anomaly.png").read_bytes(), "montage.jpg")
    keep((results / f"{STROKE}_desc-combi_anomaly.png").read_bytes(), "stroke.jpg")
    browser = chromium.start([*chromium.SOFTWARE_GL, "--hide-scrollbars"])
    for page, name, size in (
        (f"{SCAN}_report.html", "report.jpg", chromium.LAPTOP),
        (f"{PERSON}_desc-person_report.html", "person.jpg", chromium.LAPTOP),
        ("cohort.html", "cohort.jpg", (1280, 1150)),
    ):
        chromium.resize(browser, *size)
        chromium.visit(browser, results / page)
        time.sleep(SETTLED_S)
        keep(browser.get_screenshot_as_png(), name)
    browser.quit()


if __name__ == "__main__":
    main()
