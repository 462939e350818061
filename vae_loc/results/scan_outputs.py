"""Located -> the files of one scan: maps, masks, pictures, page and, last, the scores JSON."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableModel
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import LEVELS
from vae_loc.model.network import Model
from vae_loc.results.earlier_outputs import Earlier, remove_segmentations, remove_stale
from vae_loc.results.groups.template_space import in_template, numbers_in_template
from vae_loc.results.montage import Shown, Slices, montage_png
from vae_loc.results.output_names import MASK_KINDS, OutputNames
from vae_loc.results.scan_page import Picture, scan_page
from vae_loc.results.scan_summary import Inputs, MaskSummary, ScanSummary, summarize
from vae_loc.scans.volume import write_volume
from vae_loc.scoring.finding_model import Finding, columns_of, findings_tsv, how_many
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import DEFAULT_FPR, ScoreOptions, Segmentation, default_rate
from vae_loc.scoring.segmentation import SegmentedMap, regions_ml, segment, signed_on_grid
from vae_loc.system.writing import together, write_atomically, write_json
from vae_loc.vocabulary import Method

CEILING_FPR = 0.01  # where findings are not known, full colour is twice what this share of healthy voxels exceeds
NOT_SEGMENTED = "the whole map, without findings: `vae-loc segment` finds them"


def write_outputs(
    located: Located, model: Model, options: ScoreOptions, inputs: Inputs, earlier: Earlier
) -> tuple[list[Path], ScanSummary]:
    """Write the files of one scan, all of them or none; the JSON, which shows that the rest is complete, comes last.

    The files of an earlier run that contradict the new ones are removed, unless someone has changed them; those that
    are still true stay, and the JSON lists them.

    Parameters
    ----------
    inputs : of which the JSON states the SHA-256
    earlier : the outputs of an earlier run, with the names of the outputs

    Returns
    -------
    The paths that were written, and the content of the JSON.

    Raises
    ------
    UnusableInput : if a file cannot be written.
    UnusableModel : if thresholds or percentiles are asked of a model without healthy statistics.
    OurBug : if a file was written that `all_paths` does not declare, which could replace a file of the user's.
    """
    names, scan, rule = earlier.names, earlier.scan, options.files.segmentation
    earlier = earlier.by(model.digest)
    masks: dict[Method, MaskSummary] = {}
    pictures: dict[Method, Picture] = {}
    with together() as group:
        for method in located.maps:
            _write_map(located, model, names, method, percentile=options.files.percentile)
            if rule is None:  # findings that are still true stay, also in the picture
                segmented, mask = earlier.segmented(located.volume, method), earlier.mask(method)
            else:
                segmented, mask = _write_mask(located, model, names, rule, method)
            if mask is not None:
                masks[method] = mask
            pictures[method] = _write_picture(located, model, names, method, segmented, whole=options.files.report)
        names.companions(located, masks)
        summary = summarize(located, model, masks or None, options, inputs)
        if options.files.template_space and summary.ras2mni_mm:
            _write_in_template(located, model, names.in_template, pictures, summary)
        summary = earlier.joined(summary, [staged.path for staged in group.files])
        if options.files.report:
            write_atomically(names.page(scan), scan_page(located, model, pictures, summary))
        shown = list(located.maps) if options.files.report else None
        summary, listed = earlier.completed(summary, group.digests(), shown=shown)
        write_json(names.scores(scan), summary.content())
    remove_stale(earlier.files, listed)
    remove_segmentations(earlier.files, listed)
    return [staged.path for staged in group.files], summary


def _write_map(located: Located, model: Model, names: OutputNames, method: Method, *, percentile: bool) -> None:
    """Write a map on the scan's grid and, if asked to, its percentiles among healthy voxels, 0 outside the brain."""
    volume, healthy = located.volume, model.facts.healthy
    write_volume(names.path(volume.path, method, "anomaly.nii.gz"), located.maps[method], volume)
    if not percentile:
        return
    if healthy is None:
        raise UnusableModel(model.digest[:12], "has no healthy statistics for --percentile; calibrate it")
    quantiles = healthy.raw_maps[method] if located.bare else healthy.maps[method]
    percentiles = 100 * np.interp(located.maps[method], quantiles, LEVELS)
    shown = np.where(located.brain, percentiles, 0).astype(np.float32) * np.float32(names.percentile_top / 100)
    write_volume(names.path(volume.path, method, "percentile.nii.gz"), shown, volume)


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
    return segmented, MaskSummary(
        threshold=segmented.rule.threshold,
        min_strength=segmented.rule.min_strength,
        threshold_from=segmented.rule.source,
        false_findings=segmented.rule.false_findings,
        told_by=segmented.rule.told_by,
        min_size_mm3=segmentation.min_size_mm3,
        volume_ml=float(np.count_nonzero(segmented.numbers)) * volume.voxel_mm3 / 1000,
        regions_ml=regions_ml(located, model, method, segmented.mask),
        findings=list(segmented.findings),
    )


def _write_in_template(
    located: Located, model: Model, names: OutputNames, pictures: dict[Method, Picture], summary: ScanSummary
) -> None:
    """Write maps, masks and scan in the space of the template `MNI`, by the way that the summary states."""
    ras2mni_mm = np.array(summary.ras2mni_mm)
    there, scan = in_template(located, ras2mni_mm), located.volume.path
    for method, picture in pictures.items():
        _write_map(there, model, names, method, percentile=summary.options["percentile"] is True)
        if picture.numbers is not None:
            numbers = numbers_in_template(picture.numbers, located.volume, ras2mni_mm)
            write_volume(names.path(scan, method, "mask.nii.gz"), numbers > 0, there.volume)
            write_volume(names.path(scan, method, "dseg.nii.gz"), numbers, there.volume)
    write_volume(names.path(scan, next(iter(pictures)), "scan.nii.gz"), there.volume.data, there.volume)
    names.companions(there, summary.masks or {})


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
    volume, of_method = located.volume, located.signed_maps[method]
    shown = shown_of(located, model, method, segmented)
    # the title states the sign of a map that has one alone, as `--polarity` makes it
    only = "darker" if of_method.max() <= 0 else "brighter" if of_method.min() >= 0 else None
    about = f"{method}, only what is {only} than expected" if only else method
    made_by = f"model {model.facts.contrast} {model.digest[:8]}"
    title = f"{volume.path.name}   {about}   {made_by}   research use only"
    numbers = None if segmented is None else segmented.numbers
    signed = signed_on_grid(located, method, beyond=0.0 if whole else shown.floor)
    slices = Slices.of(volume, signed, located.brain, numbers, shown)
    findings = segmented.findings if segmented else ()
    result = how_many(findings, segmented.rule.false_findings) if segmented else NOT_SEGMENTED
    montage = montage_png([slices], findings, title=title, result=result[0].upper() + result[1:])
    write_atomically(names.path(volume.path, method, "anomaly.png"), montage)
    return Picture(signed, numbers, shown.ceiling or 1.0, montage)


def shown_of(located: Located, model: Model, method: Method, segmented: SegmentedMap | None) -> Shown:
    """Return from which score on a map is coloured: the mask's threshold, else what 5 % of healthy voxels exceed.

    Full colour is the least strength of a finding by default; where that is not known, twice the score
    that 1 % of healthy voxels exceed.
    """
    if model.facts.healthy is None:
        highest = float(located.maps[method].max())
        return Shown(segmented.rule.threshold if segmented else highest / 2, highest)

    def exceeded_by(fpr: float) -> float:
        return healthy_threshold(model.checkpoint, method, fpr, raw=located.bare)

    floor = max(0.0, segmented.rule.threshold) if segmented else exceeded_by(DEFAULT_FPR)
    known = known_findings(model.facts, method, bare=located.bare)
    ceiling = strength_for(known, default_rate(known)) if known else 2 * exceeded_by(CEILING_FPR)
    return Shown(floor, ceiling if ceiling > floor else 2 * floor or 1.0)
