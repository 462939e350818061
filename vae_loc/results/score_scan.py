"""One scan -> its files on disk: the steps in order, and the outcome of a scan that fails."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from vae_loc.errors import UnusableInput, fault_of, printable
from vae_loc.model.checkpoint import shipped_models
from vae_loc.model.network import load_model
from vae_loc.preprocessing.open_scan import counting_mask, open_scan
from vae_loc.results.cohort_table import Entry, facts_of, failure
from vae_loc.results.earlier_outputs import Earlier, earlier_outputs
from vae_loc.results.output_names import OutputNames
from vae_loc.results.scan_outputs import write_outputs
from vae_loc.results.scan_summary import Inputs, ScanSummary, read_summary
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scans.dicom_headers import Series
from vae_loc.scans.nifti import pair
from vae_loc.scoring.locate import as_stated, choose_model, locate
from vae_loc.scoring.score_options import EXTRAPOLATED, ScoreOptions
from vae_loc.system.onnx_runtime import set_threads
from vae_loc.system.reading import sha256_of
from vae_loc.system.writing import refuse_inputs
from vae_loc.vocabulary import MNI, BrainMask


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


def score_task(options: ScoreOptions, task: Task) -> Entry:
    """Score the scan of a task, or take what is there; whatever goes wrong is noted in the entry."""
    began = time.perf_counter()
    try:
        entry = score_scan(options, task)
        return replace(entry, seconds=time.perf_counter() - began)
    except Exception as error:  # also of ours or a library's: it must not cost the other scans of a night
        return failure(task.case, fault_of(task.case.scan, error), time.perf_counter() - began)


def score_scan(options: ScoreOptions, task: Task) -> Entry:
    """Score one scan and write its files, or take those that are there if they may be skipped.

    Raises
    ------
    UnusableInput : if the scan, its mask or the place of an output cannot be used, or it is no brain MRI.
    UnusableModel : if the model cannot be used, or is of other data.
    """
    case, names = task.case, task.names
    set_threads(options.threads)
    # no output may replace an input
    paths = [*pair(case.scan), options.brain_mask, case.brain_mask, options.model]
    refuse_inputs(names.all_paths(case.scan, options.methods), [Path(path) for path in paths if path])
    mask = counting_mask(case, options.brain_mask)
    inputs = inputs_of(case, mask)
    entry = Entry(case, "skipped", None, names.scores(case.scan), mask=mask if isinstance(mask, Path) else None)
    earlier = earlier_outputs(names, case.scan, options, inputs)
    # outputs of an earlier run that hold all that is asked for
    if task.skip_existing and (summary := _existing(options, case, earlier)):
        entry = replace(entry, facts=facts_of(summary))
    else:
        scan = open_scan(case, brain_mask=options.brain_mask, volume=options.volume)
        if task.series is not None:
            images = task.series.images_of(scan.volume.affine)
            scan = replace(scan, volume=replace(scan.volume, images=images))
        model, notes = choose_model(case, scan, options)
        located = locate(as_stated(case, scan, model, force=options.force), model, options)
        written, summary = write_outputs(located, model, options, inputs, earlier)
        notes += tuple(f"warning: {printable(case.scan)}: {warning}" for warning in located.warnings)
        rules = [mask.threshold_from for mask in (summary.masks or {}).values()]
        notes += tuple(f"warning: findings by {rule}" for rule in rules if EXTRAPOLATED in rule)
        if options.files.template_space and summary.ras2mni_mm is None:
            notes += (f"warning: {printable(case.scan)}: it has no sure place in {MNI}: nothing is written there",)
        entry = replace(entry, status="done", facts=facts_of(summary), written=tuple(written), notes=notes)
    return _with_segmentations(entry, names, task.series) if task.series and options.dicom_seg else entry


def inputs_of(case: Case, mask: BrainMask, *, scan: str | None = None) -> Inputs:
    """Return the SHA-256 of scan and brain mask; that of the scan may be given."""
    digest = sha256_of(*dict.fromkeys(pair(mask))) if isinstance(mask, Path) else None
    return Inputs(scan=scan or sha256_of(*dict.fromkeys(pair(case.scan))), brain_mask=digest)


def _existing(options: ScoreOptions, case: Case, earlier: Earlier) -> ScanSummary | None:
    """Return the scores of outputs that hold all that is asked for, whole and still true; None if there are none."""
    summary, files = earlier.summary, options.files
    if summary is None:
        return None
    # outputs of the model that the options name, or of any that might be chosen
    contrast = case.contrast or options.contrast or contrast_of(case.scan)
    known = [options.model] if options.model else [name for name in shipped_models() if contrast in (None, name)]
    models = {model.digest: model for model in map(load_model, known)}
    if summary.model.sha256 not in models or len(earlier.whole) < len(earlier.files):
        return None
    # each map, on the page, with percentiles and masks, in each space, and with findings by the rule that is asked for
    shown, masks, names = summary.options.get("report"), summary.masks or {}, earlier.names
    asked = {"anomaly": True, "percentile": files.percentile, "mask": files.segmentation is not None}
    spaces = [names, names.in_template] if files.template_space and summary.ras2mni_mm else [names]
    for method in options.methods:
        on_page = not files.report or (isinstance(shown, list) and method in shown)
        wanted = [of.path(case.scan, method, f"{kind}.nii.gz") for of in spaces for kind in asked if asked[kind]]
        if method not in summary.maps or not on_page or not earlier.whole.keys() >= {*wanted}:
            return None
        if files.segmentation is not None:
            rule = files.segmentation.rule(models[summary.model.sha256], method, bare=options.raw)
            mask = masks.get(method)
            if mask is None or (mask.rule, mask.min_size_mm3) != (rule, files.segmentation.min_size_mm3):
                return None
    return summary


def _with_segmentations(entry: Entry, names: OutputNames, series: Series) -> Entry:
    """Write a DICOM Segmentation for each mask of a converted series; return the entry with what was written."""
    from vae_loc.results.dicom_segmentation import write_segmentation

    scan = entry.case.scan
    try:
        masks = read_summary(names.scores(scan)).masks or {}
        made = [
            write_segmentation(names.path(scan, method, "dseg.nii.gz"), mask.findings, scan, series)
            for method, mask in masks.items()
        ]
    except UnusableInput as error:
        return replace(entry, status="failed", error=str(error), exit_code=error.exit_code)
    emptied = sorted({name for _, tags in made for name in tags})
    said = (
        f"{printable(scan)}: its series states no valid {', '.join(emptied)}; the DICOM Segmentation leaves that empty"
    )
    notes = (*entry.notes, *([said] if emptied else []))
    return replace(entry, written=(*entry.written, *(path for path, _ in made)), notes=notes)
