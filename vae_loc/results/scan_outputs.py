"""Located -> the files of one scan: maps, masks, pictures, page and, last, the scores JSON."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableModel
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import LEVELS
from vae_loc.model.network import Model
from vae_loc.results.finding_table import findings_tsv
from vae_loc.results.montage import Pointed, Shown, montage_png
from vae_loc.results.output_names import MASK_KINDS, OutputNames
from vae_loc.results.scan_page import Picture, scan_page
from vae_loc.results.scan_summary import MaskSummary, Provenance, ScanSummary, mask_summary, summarize
from vae_loc.scans.own_outputs import files_of
from vae_loc.scans.volume import stem, write_volume
from vae_loc.scoring.findings import known_findings, strength_for
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS, DEFAULT_FPR, Files, Segmentation
from vae_loc.scoring.segmentation import Finding, SegmentedMap, segment, signed_on_grid
from vae_loc.system.reading import opened, sha256_of
from vae_loc.system.writing import together, write_atomically, write_json
from vae_loc.vocabulary import FloatArray, Method

NUMBERED, SEGMENTATION_HEAD_BYTES = "dseg.nii.gz", 1 << 16  # the end of a name, and how much of a file names its maker
CEILING_FPR = 0.01  # where findings are not known, full colour is twice what this share of healthy voxels exceeds


def write_outputs(
    located: Located, model: Model, names: OutputNames, files: Files, provenance: Provenance
) -> tuple[list[Path], ScanSummary]:
    """Write the files of one scan, all of them or none; the JSON, which says that the rest is complete, comes last.

    What an earlier run left of the scan and this one does not make, such as the mask of another threshold, is removed:
    the files that the JSON of that run names, if they are unchanged.

    Returns
    -------
    The paths, and the content of the JSON.

    Raises
    ------
    UnusableInput : if a file cannot be written.
    UnusableModel : if thresholds or percentiles are asked of a model without healthy statistics.
    """
    scan = located.volume.path
    older = files_of(names.scores(scan))
    masks: dict[Method, MaskSummary] = {}
    pictures: dict[Method, Picture] = {}
    paths: list[Path] = []
    with together() as group:
        for method in located.maps:
            segmented = None
            paths += _write_map(located, model, names, files, method)
            if files.segmentation is not None:
                written, segmented, masks[method] = write_mask(located, model, names, files.segmentation, method)
                paths += written
            path, pictures[method] = write_picture(located, model, names, method, segmented, whole=files.report)
            paths.append(path)
        paths += names.companions(located, masks)
        scores = names.scores(scan)
        summary = summarize(located, model, masks if files.segmentation is not None else None, provenance)
        if files.report:
            paths.append(names.page(scan))
            write_atomically(paths[-1], scan_page(located, model, pictures, summary))
        digests = {
            Path(os.path.relpath(staged.path, scores.parent)).as_posix(): sha256_of(Path(staged.temporary))
            for staged in group.files
        }
        summary = summary.model_copy(update={"files": digests})
        write_json(scores, summary.content())
    remove_stale(older, {*paths, scores})
    for path in {*older, *paths}:
        _remove_segmentation(path)
    return [*paths, scores], summary


def remove_stale(older: dict[Path, str], made: set[Path]) -> None:
    """Remove the files of an earlier run that were not made again, unless someone has changed them."""
    for path, digest in older.items():
        if path not in made:
            with contextlib.suppress(OSError):  # what cannot be removed is no reason to fail
                if path.is_file() and sha256_of(path) == digest:
                    path.unlink()


def _remove_segmentation(numbered: Path) -> None:
    """Remove the DICOM Segmentation that was made of an earlier numbered mask; it is made after the JSON, if at all."""
    path = numbered.with_name(f"{stem(numbered)}.dcm")
    if numbered.name.endswith(NUMBERED) and path.is_file():
        with opened(path, "a DICOM Segmentation") as file:
            head = file.read(SEGMENTATION_HEAD_BYTES)
        if head[128:132] == b"DICM" and b"vae-loc" in head:
            path.unlink()


def _write_map(located: Located, model: Model, names: OutputNames, files: Files, method: Method) -> list[Path]:
    """Write a map on the scan's grid and, if asked to, percentiles; return the paths."""
    scan = located.volume.path
    paths = [names.path(scan, method, "anomaly.nii.gz")]
    write_volume(paths[0], located.maps[method], located.volume)
    if files.percentile:
        paths.append(names.path(scan, method, "percentile.nii.gz"))
        percentiles = _percentiles(located, model, method) * np.float32(names.percentile_top / 100)
        write_volume(paths[-1], percentiles, located.volume)
    return paths


def write_mask(
    located: Located, model: Model, names: OutputNames, segmentation: Segmentation, method: Method
) -> tuple[list[Path], SegmentedMap, MaskSummary]:
    """Write the mask of a map, once as 0 and 1, once numbered by finding, and the table of findings.

    Returns
    -------
    The paths, the findings, and what the JSON says of them.
    """
    volume = located.volume
    segmented = segment(located, model, method, segmentation)
    summary = mask_summary(segmented, volume, segmentation.min_size_mm3)
    paths = [names.path(volume.path, method, kind) for kind in MASK_KINDS]
    write_volume(paths[0], segmented.mask, volume)
    write_volume(paths[1], segmented.numbers, volume)
    write_atomically(paths[2], findings_tsv(summary.findings))
    return paths, segmented, summary


def write_picture(
    located: Located,
    model: Model,
    names: OutputNames,
    method: Method,
    segmented: SegmentedMap | None,
    *,
    whole: bool,
) -> tuple[Path, Picture]:
    """Write the montage of a map; return its path, and what the page shows: the `whole` map if there is to be one."""
    volume = located.volume
    shown = shown_of(located, model, method, segmented)
    made_by = f"model {model.facts.contrast} {model.digest[:8]}"
    title = f"{volume.path.name}   {method}{_only_words(located, method)}   {made_by}   research use only"
    mask = None if segmented is None else segmented.mask
    signed = signed_on_grid(located, method, beyond=0.0 if whole else shown.floor)
    montage = montage_png(
        volume,
        signed,
        located.brain,
        title=title,
        shown=shown,
        mask=mask,
        findings=[pointed_at(finding) for finding in segmented.findings] if segmented else [],
    )
    path = names.path(volume.path, method, "anomaly.png")
    write_atomically(path, montage)
    return path, Picture(signed, mask, shown.ceiling or 1.0, montage)


def _only_words(located: Located, method: Method) -> str:
    """Say that a map holds one sign alone, as `--polarity` makes it."""
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
