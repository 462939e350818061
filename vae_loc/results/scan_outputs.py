"""Located -> the files of one scan: maps, masks, pictures, page and, last, the scores JSON."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableModel
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import LEVELS
from vae_loc.model.network import Model
from vae_loc.results.finding_table import findings_tsv
from vae_loc.results.montage import montage_png
from vae_loc.results.output_names import MASK_KINDS, OutputNames
from vae_loc.results.scan_page import Picture, scan_page
from vae_loc.results.scan_summary import MaskSummary, Provenance, ScanSummary, mask_summary, summarize
from vae_loc.scans.volume import write_volume
from vae_loc.scoring.locate import Located
from vae_loc.scoring.segmentation import Segmentation, segment
from vae_loc.system.reading import sha256_of
from vae_loc.system.writing import together, write_atomically, write_json
from vae_loc.vocabulary import BoolArray, FloatArray, Method

CEILING_FPR = 0.01  # the colour bar ends at twice the score that 1 % of healthy voxels exceed


@dataclass(frozen=True)
class Files:
    """Which files a scan leaves besides its maps, pictures and scores.

    Attributes
    ----------
    segmentation : how masks are made; None makes none
    percentile : whether each map is also written as the percentile among healthy voxels
    report : whether a page for people is written
    """

    segmentation: Segmentation | None = None
    percentile: bool = False
    report: bool = False


def write_outputs(
    located: Located, model: Model, names: OutputNames, files: Files, provenance: Provenance
) -> tuple[list[Path], ScanSummary]:
    """Write the files of one scan, all of them or none; the JSON, which says that the rest is complete, comes last.

    Returns
    -------
    The paths, and the content of the JSON.

    Raises
    ------
    UnusableInput : if a file cannot be written.
    UnusableModel : if thresholds or percentiles are asked of a model without healthy statistics.
    """
    scan = located.volume.path
    masks: dict[Method, MaskSummary] = {}
    pictures: dict[Method, Picture] = {}
    paths: list[Path] = []
    with together() as group:
        for method in located.maps:
            mask = None
            paths += _write_map(located, model, names, files, method)
            if files.segmentation is not None:
                written, mask, masks[method] = _write_mask(located, model, names, files.segmentation, method)
                paths += written
            path, pictures[method] = _write_picture(located, model, names, method, mask)
            paths.append(path)
        paths += names.companions(located, masks)
        scores = names.scores(scan)
        summary = summarize(located, model, masks if files.segmentation is not None else None, provenance)
        if files.report:
            paths.append(names.page(scan))
            write_atomically(paths[-1], scan_page(located, model, pictures, summary))
        digests = {
            os.path.relpath(staged.path, scores.parent): sha256_of(Path(staged.temporary)) for staged in group.files
        }
        summary = summary.model_copy(update={"files": digests})
        write_json(scores, summary.content())
    return [*paths, scores], summary


def _write_map(located: Located, model: Model, names: OutputNames, files: Files, method: Method) -> list[Path]:
    """Write a map and, if asked to, its percentiles; return the paths."""
    scan = located.volume.path
    paths = [names.path(scan, method, "anomaly.nii.gz")]
    write_volume(paths[0], located.maps[method], located.volume)
    if files.percentile:
        paths.append(names.path(scan, method, "percentile.nii.gz"))
        percentiles = _percentiles(located, model, method) * np.float32(names.percentile_top / 100)
        write_volume(paths[1], percentiles, located.volume)
    return paths


def _write_mask(
    located: Located, model: Model, names: OutputNames, segmentation: Segmentation, method: Method
) -> tuple[list[Path], BoolArray, MaskSummary]:
    """Write the mask of a map, once as 0 and 1, once numbered by finding, and the table of findings.

    Returns
    -------
    The paths, the mask, and what the JSON says of it.
    """
    volume = located.volume
    segmented = segment(located, model, method, segmentation)
    summary = mask_summary(segmented, volume, segmentation.min_size_mm3)
    paths = [names.path(volume.path, method, kind) for kind in MASK_KINDS]
    write_volume(paths[0], segmented.mask, volume)
    write_volume(paths[1], segmented.numbers, volume)
    write_atomically(paths[2], findings_tsv(summary.findings))
    return paths, segmented.mask, summary


def _write_picture(
    located: Located, model: Model, names: OutputNames, method: Method, mask: BoolArray | None
) -> tuple[Path, Picture]:
    """Write the montage of a map; return its path, and what the page shows."""
    volume, scores = located.volume, located.maps[method]
    ceiling = _ceiling(located, model, method)
    made_by = f"model {model.facts.contrast} {model.digest[:8]}"
    title = f"{volume.path.name}   {method}   {made_by}   research use only"
    montage = montage_png(volume, scores, located.brain, title=title, ceiling=ceiling, mask=mask)
    path = names.path(volume.path, method, "anomaly.png")
    write_atomically(path, montage)
    return path, Picture(scores, mask, ceiling or 1.0, montage)


def _percentiles(located: Located, model: Model, method: Method) -> FloatArray:
    """Return a map as percentiles among healthy voxels, float32 (I, J, K), 0 to 100, 0 outside the brain."""
    healthy = model.facts.healthy
    if healthy is None:
        raise UnusableModel(model.digest[:12], "has no healthy statistics for --percentile; calibrate it")
    quantiles = healthy.raw_maps[method] if located.bare else healthy.maps[method]
    percentiles = 100 * np.interp(located.maps[method], quantiles, LEVELS)
    shown: FloatArray = np.where(located.brain, percentiles, 0).astype(np.float32)
    return shown


def _ceiling(located: Located, model: Model, method: Method) -> float:
    """Return the score that is shown at full colour."""
    if model.facts.healthy is not None:
        return 2 * healthy_threshold(model.checkpoint, method, CEILING_FPR, raw=located.bare)
    return float(located.maps[method].max())
