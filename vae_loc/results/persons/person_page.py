"""The page of a person: the findings of all contrasts together, then each scan's picture and a link to its page."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from vae_loc.results.output_names import PAGE_ENDING
from vae_loc.results.persons.person_summary import PersonScan, PersonSummary
from vae_loc.results.scan_page import CITATION, environment, look_of, stored_jpeg
from vae_loc.results.scan_summary import read_summary
from vae_loc.scans.own_outputs import SCORES_ENDING
from vae_loc.vocabulary import Polarity


@dataclass(frozen=True)
class ScanOnPage:
    """A scan of the person: its picture, base64 of a JPEG, and the link to its page, None where there is none."""

    about: PersonScan
    name: str
    polarity: Polarity
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
    picture, page = look_of(scores, own.files)
    link = Path(os.path.relpath(page, folder)).as_posix() if page else None
    return ScanOnPage(scan, Path(scan.scan).name, own.polarity, stored_jpeg(picture), link)
