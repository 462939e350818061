"""One scan -> its files on disk: the steps in order, and the outcome of a scan that fails."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from vae_loc.errors import OurBug, UnusableInput, VaeLocError, machine_fault, printable
from vae_loc.model.network import Model, load_model
from vae_loc.model.shipped import shipped_models
from vae_loc.preprocessing.open_scan import counting_mask, open_scan
from vae_loc.results.cohort_table import Entry, facts_of, failure
from vae_loc.results.earlier_outputs import earlier_outputs
from vae_loc.results.output_names import OutputNames
from vae_loc.results.scan_outputs import write_outputs
from vae_loc.results.scan_summary import Inputs, Provenance, ScanSummary, read_summary
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scans.dicom_headers import Series
from vae_loc.scans.nifti import pair
from vae_loc.scoring.choose_model import locate_scan
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.system.onnx_runtime import set_threads
from vae_loc.system.reading import sha256_of
from vae_loc.system.writing import refuse_inputs
from vae_loc.vocabulary import BrainMask, Method


@dataclass(frozen=True)
class Task:
    """A scan to score, unless it may be skipped; it travels between processes, so `names` is of this scan alone.

    Attributes
    ----------
    skip_existing : whether to leave alone outputs that hold all that is asked for
    series : the DICOM series that the scan was converted from
    """

    case: Case
    names: OutputNames
    skip_existing: bool
    series: Series | None = None


def score_scan(case: Case, options: ScoreOptions, names: OutputNames, provenance: Provenance) -> Entry:
    """Score one scan and write its files.

    Raises
    ------
    UnusableInput : if the scan, its mask or the place of an output cannot be used, or it is no brain MRI.
    UnusableModel : if the model cannot be used, or is of other data.
    """
    scan = open_scan(case, brain_mask=options.brain_mask, volume=options.volume)
    located, model, notes = locate_scan(scan, case, options)
    paths, summary = write_outputs(located, model, names, options.files, provenance)
    notes += tuple(f"warning: {printable(case.scan)}: {warning}" for warning in located.warnings)
    mask = _mask_file(case, options)
    return Entry(case, "done", None, names.scores(case.scan), facts_of(summary), tuple(paths), notes, mask=mask)


def score_task(options: ScoreOptions, task: Task) -> Entry:
    """Score the scan of a task, or take what is there; whatever goes wrong is noted in the entry."""
    began = time.perf_counter()
    try:
        entry = _with_segmentations(_entry_of(options, task), options, task)
        return replace(entry, seconds=time.perf_counter() - began)
    except VaeLocError as error:
        fault = error
    except Exception as error:  # of ours or a library's: it must not cost the other scans of a night
        fault = machine_fault(error) or OurBug(task.case.scan, error)
    return failure(task.case, fault, time.perf_counter() - began)


def _entry_of(options: ScoreOptions, task: Task) -> Entry:
    """Return the entry of a scan whose outputs may be trusted, or score it."""
    case, names = task.case, task.names
    set_threads(options.threads)
    inputs = [*pair(case.scan), options.brain_mask, case.brain_mask, options.model]
    refuse_inputs(names.all_paths(case.scan, options.methods), [Path(path) for path in inputs if path])
    provenance = Provenance(inputs=inputs_of(case, counting_mask(case, options.brain_mask)), options=options.stated())
    summary = _existing(options, task, provenance) if task.skip_existing else None
    if summary is None:
        return score_scan(case, options, names, provenance)
    mask = _mask_file(case, options)
    return Entry(case, "skipped", None, names.scores(case.scan), facts_of(summary), mask=mask)


def _mask_file(case: Case, options: ScoreOptions) -> Path | None:
    """Return the brain mask file that counts for a case; None if the brain is found otherwise."""
    mask = counting_mask(case, options.brain_mask)
    return mask if isinstance(mask, Path) else None


def _existing(options: ScoreOptions, task: Task, provenance: Provenance) -> ScanSummary | None:
    """Return the scores of outputs that hold all that is asked for, whole and still true; None if there are none."""
    scores = task.names.scores(task.case.scan)
    if not scores.exists():
        return None
    contrast = task.case.contrast or options.contrast or contrast_of(task.case.scan)
    known = [options.model] if options.model else [name for name in shipped_models() if contrast in (None, name)]
    models = {model.digest: model for model in map(load_model, known)}
    earlier = earlier_outputs(task.names, task.case.scan, provenance, models)
    if earlier.summary is None or len(earlier.whole) < len(earlier.files):
        return None
    model = models[earlier.summary.model.sha256]
    held = all(_holds(earlier.summary, method, options, model) for method in options.methods)
    percentiles = [task.names.path(task.case.scan, method, "percentile.nii.gz") for method in options.methods]
    held = held and (not options.files.percentile or all(path in earlier.whole for path in percentiles))
    return earlier.summary if held else None


def _holds(summary: ScanSummary, method: Method, options: ScoreOptions, model: Model) -> bool:
    """Return whether a scan has a map, its findings by the rule that is asked for, and its place on the page."""
    shown, segmentation = summary.options.get("report"), options.files.segmentation
    if method not in summary.maps or (options.files.report and not (isinstance(shown, list) and method in shown)):
        return False
    if segmentation is None:
        return True
    mask = (summary.masks or {}).get(method)
    rule = segmentation.rule(model, method, bare=options.raw)
    return mask is not None and (mask.rule, mask.min_size_mm3) == (rule, segmentation.min_size_mm3)


def _with_segmentations(entry: Entry, options: ScoreOptions, task: Task) -> Entry:
    """Write a DICOM Segmentation for each mask of a converted series; return the entry with what was written."""
    if task.series is None or not options.dicom_seg:
        return entry
    from vae_loc.results.dicom_segmentation import write_segmentation

    scan = task.case.scan
    try:
        masks = read_summary(task.names.scores(scan)).masks or {}
        made = [
            write_segmentation(task.names.path(scan, method, "dseg.nii.gz"), mask.findings, scan, task.series)
            for method, mask in masks.items()
        ]
    except UnusableInput as error:
        return replace(entry, status="failed", error=str(error), exit_code=error.exit_code)
    emptied = sorted({name for _, names in made for name in names})
    said = (
        f"{printable(scan)}: its series states no valid {', '.join(emptied)}; the DICOM Segmentation leaves that empty"
    )
    notes = (*entry.notes, *([said] if emptied else []))
    return replace(entry, written=(*entry.written, *(path for path, _ in made)), notes=notes)


def inputs_of(case: Case, mask: BrainMask, *, scan: str | None = None) -> Inputs:
    """Return the SHA-256 of scan and brain mask; that of the scan may be given."""
    digest = sha256_of(*dict.fromkeys(pair(mask))) if isinstance(mask, Path) else None
    return Inputs(scan=scan or sha256_of(*dict.fromkeys(pair(case.scan))), brain_mask=digest)
