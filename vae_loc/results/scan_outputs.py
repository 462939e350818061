"""Located -> the files of one scan: maps, masks, pictures, page and, last, the scores JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vae_loc.errors import OurBug, UnusableModel
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import LEVELS
from vae_loc.model.network import Model
from vae_loc.results.earlier_outputs import earlier_outputs, remove_segmentations, remove_stale
from vae_loc.results.montage import Pointed, Shown, montage_png
from vae_loc.results.output_names import MASK_KINDS, OutputNames
from vae_loc.results.scan_page import Picture, scan_page
from vae_loc.results.scan_summary import MaskSummary, Provenance, ScanSummary, mask_summary, summarize
from vae_loc.scans.volume import write_volume
from vae_loc.scoring.finding_model import Finding, columns_of, findings_tsv
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS, DEFAULT_FPR, Files, Segmentation
from vae_loc.scoring.segmentation import SegmentedMap, segment, signed_on_grid
from vae_loc.system.writing import together, write_atomically, write_json
from vae_loc.vocabulary import MAPS, FloatArray, Method

CEILING_FPR = 0.01  # where findings are not known, full colour is twice what this share of healthy voxels exceeds


def write_outputs(
    located: Located, model: Model, names: OutputNames, files: Files, provenance: Provenance
) -> tuple[list[Path], ScanSummary]:
    """Write the files of one scan, all of them or none; the JSON, which shows that the rest is complete, comes last.

    The files of an earlier run that contradict the new ones are removed, unless someone has changed them; those that
    are still true stay, and the JSON lists them (`earlier_outputs`).

    Returns
    -------
    The paths that were written, and the content of the JSON.

    Raises
    ------
    UnusableInput : if a file cannot be written.
    UnusableModel : if thresholds or percentiles are asked of a model without healthy statistics.
    """
    scan = located.volume.path
    scores, page = names.scores(scan), names.page(scan)
    earlier = earlier_outputs(names, scan, provenance, {model.digest})
    masks: dict[Method, MaskSummary] = {}
    pictures: dict[Method, Picture] = {}
    with together() as group:
        for method in located.maps:
            segmented = earlier.segmented(names, located.volume, method)
            mask = earlier.mask(names, scan, method)
            _write_map(located, model, names, files, method)
            if files.segmentation is not None:
                segmented, mask = _write_mask(located, model, names, files.segmentation, method)
            if mask is not None:
                masks[method] = mask
            pictures[method] = _write_picture(located, model, names, method, segmented, whole=files.report)
        names.companions(located, masks)
        summary = summarize(located, model, masks or None, provenance)
        summary = earlier.joined(summary, names, scan, [staged.path for staged in group.files])
        if files.report:
            write_atomically(page, scan_page(located, model, pictures, summary))
        new = group.digests()
        known = names.all_paths(scan, [*summary.maps, *MAPS])
        listed = _declared(new | earlier.kept(summary, names, scan, new), known, scan)
        summary = earlier.stating(summary, names, scan, listed, shown=list(located.maps) if files.report else None)
        write_json(scores, summary.content())
    remove_stale(earlier.files, listed)
    remove_segmentations(earlier.files, listed)
    return [staged.path for staged in group.files], summary


def _declared(files: Mapping[Path, str], known: Sequence[Path], scan: Path) -> dict[Path, str]:
    """Return the files of a scan in the order of their names.

    Raises
    ------
    OurBug : if one was written that `all_paths` does not declare, which could replace a file of the user's.
    """
    for path in files:
        if path not in known:
            raise OurBug(scan, LookupError(f"{path.name} is written, and OutputNames.all_paths does not declare it"))
    return {path: files[path] for path in dict.fromkeys(known) if path in files}


def _write_map(located: Located, model: Model, names: OutputNames, files: Files, method: Method) -> None:
    """Write a map on the scan's grid and, if asked to, percentiles."""
    scan = located.volume.path
    write_volume(names.path(scan, method, "anomaly.nii.gz"), located.maps[method], located.volume)
    if files.percentile:
        percentiles = _percentiles(located, model, method) * np.float32(names.percentile_top / 100)
        write_volume(names.path(scan, method, "percentile.nii.gz"), percentiles, located.volume)


def _write_mask(
    located: Located, model: Model, names: OutputNames, segmentation: Segmentation, method: Method
) -> tuple[SegmentedMap, MaskSummary]:
    """Write the mask of a map, once as 0 and 1, once numbered by finding, and the table of findings."""
    volume = located.volume
    segmented = segment(located, model, method, segmentation)
    mask, numbered, table = (names.path(volume.path, method, kind) for kind in MASK_KINDS)
    write_volume(mask, segmented.mask, volume)
    write_volume(numbered, segmented.numbers, volume)
    rows = [finding.model_dump() for finding in segmented.findings]
    write_atomically(table, findings_tsv(columns_of(Finding), rows))
    return segmented, mask_summary(segmented, volume, segmentation.min_size_mm3)


def _write_picture(
    located: Located,
    model: Model,
    names: OutputNames,
    method: Method,
    segmented: SegmentedMap | None,
    *,
    whole: bool,
) -> Picture:
    """Write the montage of a map; return the picture for the page: the `whole` map if there is to be one."""
    volume = located.volume
    shown = shown_of(located, model, method, segmented)
    made_by = f"model {model.facts.contrast} {model.digest[:8]}"
    title = f"{volume.path.name}   {method}{_only_words(located, method)}   {made_by}   research use only"
    mask = None if segmented is None else segmented.mask
    signed = signed_on_grid(located, method, beyond=0.0 if whole else shown.floor)
    findings = [pointed_at(finding) for finding in segmented.findings] if segmented else []
    montage = montage_png(volume, signed, located.brain, title=title, shown=shown, mask=mask, findings=findings)
    write_atomically(names.path(volume.path, method, "anomaly.png"), montage)
    return Picture(signed, mask, shown.ceiling or 1.0, montage)


def _only_words(located: Located, method: Method) -> str:
    """Return the words for a map of one sign alone, as `--polarity` makes it."""
    signed = located.signed_maps[method]
    only = "darker" if signed.max() <= 0 else "brighter" if signed.min() >= 0 else None
    return f", only what is {only} than expected" if only else ""


def pointed_at(finding: Finding) -> Pointed:
    """Return where the picture shows a finding, and its caption."""
    return Pointed(finding.peak_voxel, f"{finding.number}: {finding.volume_ml:.3g} ml, {finding.sign}")


def shown_of(located: Located, model: Model, method: Method, segmented: SegmentedMap | None) -> Shown:
    """Return from which score on a map is coloured: the mask's threshold, else what 5 % of healthy voxels exceed.

    Full colour is the strength of a finding that 1 in 10 healthy scans has; where that is not known, twice the score
    that 1 % of healthy voxels exceed.
    """
    if model.facts.healthy is None:
        highest = float(located.maps[method].max())
        return Shown(segmented.rule.threshold if segmented else highest / 2, highest)

    def exceeded_by(fpr: float) -> float:
        return healthy_threshold(model.checkpoint, method, fpr, raw=located.bare)

    floor = max(0.0, segmented.rule.threshold) if segmented else exceeded_by(DEFAULT_FPR)
    known = known_findings(model.facts, method, bare=located.bare)
    ceiling = strength_for(known, DEFAULT_FALSE_FINDINGS) if known else 2 * exceeded_by(CEILING_FPR)
    return Shown(floor, ceiling if ceiling > floor else 2 * floor or 1.0)


def _percentiles(located: Located, model: Model, method: Method) -> FloatArray:
    """Return a map as percentiles among healthy voxels, float32 (I, J, K), 0 to 100, 0 outside the brain."""
    healthy = model.facts.healthy
    if healthy is None:
        raise UnusableModel(model.digest[:12], "has no healthy statistics for --percentile; calibrate it")
    quantiles = healthy.raw_maps[method] if located.bare else healthy.maps[method]
    percentiles = 100 * np.interp(located.maps[method], quantiles, LEVELS)
    shown: FloatArray = np.where(located.brain, percentiles, 0).astype(np.float32)
    return shown
