"""The page of a person: the findings of all contrasts together, then each scan's picture and a link to its page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.results.persons.person_summary import PersonScan, PersonSummary
from vae_loc.results.scan_page import CITATION, environment, jpeg
from vae_loc.results.scan_summary import read_summary
from vae_loc.scans.own_outputs import SCORES_ENDING
from vae_loc.system.reading import opened

PAGE_ENDING = "_report.html"
MAX_PICTURE_BYTES = 50_000_000


@dataclass(frozen=True)
class ScanOnPage:
    """A scan of the person: its picture, base64 of a JPEG, and the link to its page, None where there is none."""

    about: PersonScan
    name: str
    polarity: str | None
    picture: str | None
    page: str | None


def page_of(scores: Path) -> Path:
    """Return the path of a person's page, beside the person's JSON."""
    return scores.with_name(scores.name.removesuffix(SCORES_ENDING) + PAGE_ENDING)


def person_page(summary: PersonSummary, folder: Path) -> bytes:
    """Return the page of a person, UTF-8; it belongs into `folder`, that of the person's JSON."""
    method = "combi" if "combi" in summary.masks else next(iter(summary.masks))
    text = (
        environment()
        .get_template("person.html")
        .render(
            summary=summary,
            method=method,
            mask=summary.masks[method],
            scans=[_on_page(scan, folder) for scan in summary.scans],
            citation=CITATION,
        )
    )
    return text.encode("utf-8")


def _on_page(scan: PersonScan, folder: Path) -> ScanOnPage:
    scores = folder / scan.scores
    own = read_summary(scores)
    files = [scores.parent / name for name in own.files]
    picture = next((file for file in files if file.name.endswith("_anomaly.png")), None)
    page = next((file for file in files if file.name.endswith(PAGE_ENDING)), None)
    name = Path(scan.scan).name
    shown = _picture(picture) if picture else None
    # a scan's picture and page lie beside its JSON, or in a folder of its subject: as the person's JSON says
    link = (Path(scan.scores).parent / page.relative_to(scores.parent)).as_posix() if page else None
    return ScanOnPage(scan, name, _only(own.options.get("polarity")), shown, link)


def _only(polarity: object) -> str | None:
    """Return the polarity of a map that holds one sign alone."""
    return polarity if isinstance(polarity, str) and polarity != "any" else None


def _picture(path: Path) -> str | None:
    try:
        with opened(path, "a picture") as file:
            return jpeg(file.read(MAX_PICTURE_BYTES))
    except (UnusableInput, OSError):  # removed or damaged since
        return None
