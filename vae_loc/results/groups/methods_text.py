"""Results of scans -> a paragraph for the methods section of a paper, with references (`templates/methods.md`)."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.results.cohort_table import TABLE
from vae_loc.results.find_page import scores_in
from vae_loc.results.person_summary import people_beside
from vae_loc.results.scan_page import CITATION, environment
from vae_loc.results.scan_summary import read_summary
from vae_loc.scans.cases import person_of, subject_of
from vae_loc.system.reading import read_csv


def methods_text(results: Path) -> str:
    """Return how the scans of a folder of results, or of a cohort table, were scored: Markdown, a sentence a line.

    Raises
    ------
    UnusableInput : if there is no result of a scan, or one cannot be read.
    """
    table = results / TABLE if results.is_dir() else results
    if table.exists():
        rows = read_csv(table, "a cohort table", ["scores", "subject"])
        scored = {table.parent / row["scores"]: row["subject"] for row in rows if row["scores"]}
    else:
        rows, scored = [], {path: subject_of(Path(read_summary(path).scan)) for path in scores_in(results)}
    if not scored:
        raise UnusableInput(results, f"expected {TABLE} or scores of scans, found none; name a folder of results")
    summaries = [read_summary(path) for path in scored]
    masks = [(of.model.contrast, method, mask) for of in summaries for method, mask in (of.masks or {}).items()]
    template = environment().overlay(autoescape=False).get_template("methods.md")
    return template.render(
        summaries=summaries,
        people=len({person_of(subject) for subject in scored.values()}),
        failed=len(rows) - len(scored) if rows else 0,
        forced=sum(bool(of.forced) for of in summaries),
        contrasts=Counter(of.model.contrast for of in summaries),
        versions=sorted({of.versions["vae-loc"] for of in summaries}),
        brain_masks=Counter(of.brain_mask for of in summaries),
        models=sorted({(of.model.contrast, of.model.sha256, of.model.healthy_subjects) for of in summaries}),
        maps=list(dict.fromkeys(method for of in summaries for method in of.maps)),
        raw=summaries[0].options.get("raw"),
        polarity=summaries[0].polarity,
        rules=list(dict.fromkeys((contrast, method, mask.rule) for contrast, method, mask in masks)),
        sizes=sorted({f"{mask.min_size_mm3:g}" for _, _, mask in masks}),
        joint=len(people_beside(list(scored))),
        citation=CITATION,
    )
