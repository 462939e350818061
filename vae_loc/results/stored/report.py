"""A folder of results -> its pages, pictures and tables anew, with the findings as stored or of another level."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np

from vae_loc.errors import OurBug, UnusableInput, VaeLocError, machine_fault, printable
from vae_loc.results.cohort_table import TABLE, Entry, facts_of, failure, refuse_clashing_table
from vae_loc.results.output_names import MASK_KINDS, FolderNames, refuse_clashes
from vae_loc.results.persons.common_grid import read_output
from vae_loc.results.persons.people import people_in
from vae_loc.results.persons.person_outputs import PersonResult
from vae_loc.results.scan_outputs import Files, write_mask, write_picture
from vae_loc.results.scan_page import Picture, scan_page
from vae_loc.results.scan_summary import ScanSummary
from vae_loc.results.score_cohort import Listener, Outcome, RunOptions, finished, merge_persons
from vae_loc.results.score_scan import ScoreOptions
from vae_loc.results.stored.stored_scan import StoredScan, model_of, restored, scores_in, stored_scan
from vae_loc.results.stored.stored_table import read_rows, write_tables
from vae_loc.scans.cases import Case, subject_of
from vae_loc.scans.volume import stem
from vae_loc.scoring.segmentation import Finding, Rule, Segmentation, SegmentedMap
from vae_loc.system.reading import sha256_of
from vae_loc.system.writing import check_place, together, write_atomically, write_json
from vae_loc.vocabulary import Method


@dataclass(frozen=True)
class Level:
    """How findings are made anew; what is None stays as it was stored, and all None keeps the findings.

    Attributes
    ----------
    threshold, fpr, false_findings : as of `Segmentation`; any of them replaces the stored one, whichever that was
    min_size_mm3 : the smallest finding kept
    persons : whether results of people are made of the new findings
    """

    threshold: float | None = None
    fpr: float | None = None
    false_findings: float | None = None
    min_size_mm3: float | None = None
    persons: bool = True

    @property
    def is_new(self) -> bool:
        """Whether findings are made anew."""
        return any(one is not None for one in (self.threshold, self.fpr, self.false_findings, self.min_size_mm3))

    def segmentation(self, summary: ScanSummary) -> Segmentation:
        """Return how the findings of a scan are made that were stored with a scores JSON."""
        stored = summary.options.get("segmentation")
        old = Segmentation(**stored) if isinstance(stored, dict) else Segmentation()
        if not all(one is None for one in (self.threshold, self.fpr, self.false_findings)):
            old = replace(old, threshold=self.threshold, fpr=self.fpr, false_findings=self.false_findings)
        return old if self.min_size_mm3 is None else replace(old, min_size_mm3=self.min_size_mm3)


def report_folder(folder: Path, level: Level, *, model: str | None = None, listener: Listener | None = None) -> Outcome:
    """Make the pages and pictures of all scans in a folder of results, and its cohort table and page.

    Parameters
    ----------
    model : the model's file, where a scan was scored by none of the shipped ones

    Raises
    ------
    UnusableInput : if the folder holds no results or cannot be written; what is wrong with one scan is in its entry.
    """
    listener = listener or Listener()
    found, rows = scores_in(folder), read_rows(folder)
    check_place(folder / TABLE)
    if len(found) > 1:
        refuse_clashing_table(folder / TABLE, [], report=True)
    kept: list[StoredScan] = []
    entries: list[Entry] = []
    advance = listener.bars("reporting", len(found))
    for scores in found:
        try:
            kept.append(stored_scan(scores, rows))
            entries.append(_entry(kept[-1], level, model))
        except VaeLocError as error:
            entries.append(failure(Case(scores, subject_of(scores), None), error))
        for note in entries[-1].notes:
            listener.note(note)
        listener.event("scan", entries[-1].row(folder).cells(list(kept[-1].summary.maps) if kept else []))
        advance(scores.name)
    persons = _merged(folder, kept, entries, level, listener)
    tables = write_tables(folder, [stored_scan(stored.scores, rows) for stored in kept])
    return finished(Outcome(entries, tables, persons), listener)


def report_scan(stored: StoredScan, level: Level, *, model: str | None = None) -> tuple[list[Path], ScanSummary]:
    """Make the page and the pictures of one scan and, where a level is given, its findings; all files or none.

    Returns
    -------
    The paths, and the content of the scores JSON.

    Raises
    ------
    UnusableInput : if the scan, or what was stored of it, is missing or changed, or a file cannot be written.
    UnusableModel : if its model is not known, or lacks the healthy statistics that the level needs.
    """
    names, summary = stored.names, stored.summary
    refuse_clashes([stored.case], names, list(summary.maps), report=True)
    known, located = model_of(stored, model), restored(stored)
    options = summary.options | {"report": True}
    masks, paths = dict(summary.masks or {}), []
    pictures: dict[Method, Picture] = {}
    with together() as group:
        for method in located.maps:
            segmented = _stored_findings(stored, method)
            if level.is_new:
                rule = level.segmentation(summary)
                options["segmentation"] = asdict(rule)
                written, segmented, masks[method] = write_mask(located, known, names, rule, method)
                paths += written
            path, pictures[method] = write_picture(located, known, names, method, segmented, whole=True)
            paths.append(path)
        summary = summary.model_copy(update={"masks": masks or None, "options": options})
        paths.append(names.page(stored.case.scan))
        write_atomically(paths[-1], scan_page(located, known, pictures, summary))
        digests = {staged.path.name: sha256_of(Path(staged.temporary)) for staged in group.files}
        files = summary.files | digests
        in_order = [path.name for path in names.all_paths(stored.case.scan, list(summary.maps)) if path.name in files]
        summary = summary.model_copy(update={"files": {name: files[name] for name in in_order}})
        write_json(stored.scores, summary.content())
    return [*paths, stored.scores], summary


def _entry(stored: StoredScan, level: Level, model: str | None) -> Entry:
    """Make the page of a scan; whatever goes wrong is noted in its entry."""
    case = stored.case
    try:
        paths, summary = report_scan(stored, level, model=model)
    except VaeLocError as error:
        return failure(case, error)
    except Exception as error:  # of ours or a library's: it must not cost the other scans
        return failure(case, machine_fault(error) or OurBug(case.scan, error))
    notes = _without_dicom(stored) if level.is_new else ()
    return Entry(case, "done", None, stored.scores, facts_of(summary), tuple(paths), notes, mask=case.brain_mask)


def _merged(
    folder: Path, kept: Sequence[StoredScan], entries: Sequence[Entry], level: Level, listener: Listener
) -> tuple[PersonResult, ...]:
    """Make the results of people anew; where findings stay, those that are there: they state the scores' SHA-256.

    Scans whose outputs have a file name of their own are of nobody, as in `segment`.
    """
    of_folder = [stored for stored in kept if _has_names_of_folder(stored)]
    merged: list[PersonResult] = []
    for polarity in dict.fromkeys(stored.summary.polarity for stored in of_folder):  # it is in the names
        alike = [stored for stored in of_folder if stored.summary.polarity == polarity]
        names = FolderNames(folder, None, {one.case.scan: one.name for one in alike}, polarity=polarity)
        cases = [stored.case for stored in alike]
        people = [person for person in people_in(cases) if level.is_new or names.person_scores(person).exists()]
        wanted = [case for person in people for case in person.cases.values()]
        done = [entry for entry in entries if entry.status == "done" and entry.case in wanted]
        options = ScoreOptions(files=Files(segmentation=Segmentation()), polarity=polarity)
        merged += merge_persons(cases, done, names, options, RunOptions(persons=level.persons), listener=listener)
    return tuple(merged)


def _has_names_of_folder(stored: StoredScan) -> bool:
    try:
        return stored.names.map_file is None
    except UnusableInput:
        return False


def _stored_findings(stored: StoredScan, method: Method) -> SegmentedMap | None:
    """Return the findings as they were stored, for the picture: their places in the atlas are not needed there."""
    mask = (stored.summary.masks or {}).get(method)
    if mask is None:
        return None
    numbers = read_output(stored.names.path(stored.case.scan, method, MASK_KINDS[1])).data.astype(np.uint16)
    kept = {field.name for field in fields(Finding)} - {"place"}
    findings = [Finding(**one.model_dump(include=kept), place=None) for one in mask.findings]
    return SegmentedMap(numbers, tuple(findings), Rule(mask.threshold, mask.min_strength, mask.threshold_from))


def _without_dicom(stored: StoredScan) -> tuple[str, ...]:
    """Remove the DICOM Segmentations of the findings that were replaced; return a note for each."""
    notes = []
    for method in stored.summary.maps:
        numbered = stored.names.path(stored.case.scan, method, MASK_KINDS[1])
        dicom = numbered.with_name(f"{stem(numbered)}.dcm")
        if dicom.is_file():
            os.unlink(dicom)
            said = "was of the findings that are replaced and is removed; `segment --dicom-seg` writes another"
            notes.append(f"{printable(dicom)}: {said}")
    return tuple(notes)
