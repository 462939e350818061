"""The findings of a run's scans, for a person at a terminal: a table, and one line on all scans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vae_loc.errors import UnusableInput, printable

if TYPE_CHECKING:
    from rich.table import Table

    from vae_loc.results.cohort_table import Entry
    from vae_loc.results.scan_summary import ScanSummary
    from vae_loc.results.score_cohort import Outcome

MAX_ROWS = 40  # of the table on screen; the cohort table has all
MAX_NAMES = 3  # of failed scans in the last line
PAGE_SUFFIX = ".html"


def findings_shown(outcome: Outcome) -> tuple[Table | None, list[str]]:
    """Return the table of several scans, or one line for each mask of the only one; then one line on all scans."""
    from vae_loc.scoring.finding_model import findings_words, words_of_maps

    last = closing_line(outcome)
    lines = [last] if last else []
    if len(outcome.entries) > 1:
        return scan_table(outcome.entries), lines
    said = []
    for entry in outcome.entries:
        summary = None if entry.status == "failed" else summary_of(entry)
        masks = (summary.masks if summary else None) or {}
        words = {method: findings_words(mask.findings, mask.false_findings) for method, mask in masks.items()}
        said += [f"{printable(entry.case.scan.name)}: {found}" for found in words_of_maps(words)]
    return None, said + lines


def scan_table(entries: Sequence[Entry]) -> Table:
    """Return a table of scans: findings, the strongest, number of warnings.

    Of many scans it holds the failed ones and those with the strongest findings.
    """
    from rich import box
    from rich.markup import escape
    from rich.table import Column, Table

    shown = list(entries)
    if len(shown) > MAX_ROWS:
        shown = sorted(shown, key=_worklist_place)[:MAX_ROWS]
    summaries = [summary_of(entry) for entry in shown]
    segmented = any(summary is not None and summary.masks for summary in summaries)
    last = "strongest finding" if segmented else "beyond the healthy 5 %"
    counts = [Column("findings", justify="right")] if segmented else []
    ends = Column("scan", overflow="fold"), Column("warnings", justify="right")
    table = Table(ends[0], *counts, last, ends[1], box=box.SIMPLE_HEAD)
    for entry, summary in zip(shown, summaries, strict=True):
        cells = printable(entry.case.scan.name), *_cells(entry, summary, segmented=segmented)
        table.add_row(*map(escape, cells))
    if len(entries) > MAX_ROWS:
        table.caption = f"{MAX_ROWS} of {len(entries)} scans: failed ones, then those with the strongest findings"
    return table


def closing_line(outcome: Outcome) -> str:
    """Return the numbers of scans done, skipped and failed, and the file to open; nothing for one scan without a page.

    >>> from pathlib import Path
    >>> from vae_loc.results.cohort_table import Entry
    >>> from vae_loc.results.score_cohort import Outcome
    >>> from vae_loc.scans.cases import Case
    >>> entries = [Entry(Case(Path(f"{name}.nii"), name, None), status, None) for name, status in
    ...            (("a", "done"), ("b", "failed"), ("c", "skipped"))]
    >>> closing_line(Outcome(entries, (Path("out/cohort.csv"), Path("out/cohort.html"))))
    '1 done, 1 skipped, 1 failed: b.nii; open out/cohort.html'
    """
    statuses = [entry.status for entry in outcome.entries]
    counts = ", ".join(f"{n} {status}" for status in ("done", "skipped", "failed") if (n := statuses.count(status)))
    failed = [printable(entry.case.scan.name) for entry in outcome.failed]
    more = f" and {len(failed) - MAX_NAMES} more" if len(failed) > MAX_NAMES else ""
    names = f": {', '.join(failed[:MAX_NAMES])}{more}" if failed else ""
    own = [path for entry in outcome.entries for path in entry.written]
    files = [*own, *outcome.tables] if len(statuses) < 2 else [*outcome.tables, *own]
    page = next((path for path in files if path.name.endswith(PAGE_SUFFIX)), None)
    if len(statuses) < 2 and page is None:
        return ""
    look = page or next(iter(outcome.tables), None)
    return f"{counts}{names}" + (f"; open {printable(look)}" if look else "")


def summary_of(entry: Entry) -> ScanSummary | None:
    """Return the scores of a scan; None if it failed, or they are gone."""
    from vae_loc.results.scan_summary import read_summary

    try:
        return None if entry.scores is None else read_summary(entry.scores)
    except UnusableInput:
        return None


def _worklist_place(entry: Entry) -> tuple[bool, float]:
    strengths = [value for name, value in entry.facts.items() if name.endswith("_strength")]
    return entry.status != "failed", -max((value for value in strengths if isinstance(value, float)), default=0.0)


def _cells(entry: Entry, summary: ScanSummary | None, *, segmented: bool) -> list[str]:
    """Return the cells of a scan after its name."""
    if entry.status == "failed" or summary is None:
        return [*(["-"] if segmented else []), "failed: see above", "-"]
    method = "combi" if "combi" in summary.maps else next(iter(summary.maps))
    warnings = str(len(summary.warnings) or "-")
    if not segmented:
        flagged = summary.maps[method].flagged
        return ["-" if flagged is None else f"{100 * flagged:.1f} % of the brain", warnings]
    findings = (summary.masks or {})[method].findings
    if not findings:
        return ["0", "-", warnings]
    from vae_loc.scoring.finding_model import about_ml

    first = findings[0]
    return [str(len(findings)), f"{about_ml(first.volume_ml)}, {first.sign}, {first.place_words}", warnings]
