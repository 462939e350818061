"""What `score`, `segment` and `train` leave on disk: names, maps, JSON, pictures."""

from __future__ import annotations

from vae_loc.scoring.segmentation import DEFAULT_FPR
from vae_loc.scoring.segmentation import Segmentation
from vae_loc.scoring.segmentation import odd
from vae_loc.system.versions import versions

import contextlib
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from vae_loc.model.checkpoint import Checkpoint, healthy_threshold
from vae_loc.model.facts import LEVELS, healthy_percentile, rounded
from vae_loc.vocabulary import Method
from vae_loc.system.reading import sha256_of
from vae_loc.errors import UnusableModel
from vae_loc.system.writing import together, write_atomically, write_json
from vae_loc.scoring.locate import Located
from vae_loc.scoring.segmentation import threshold_map
from vae_loc.results.scan_page import Picture, scan_page
from vae_loc.results.output_names import OutputNames
from vae_loc.results.montage import montage_png
from vae_loc.scans.volume import Volume, write_volume
from vae_loc.vocabulary import FloatArray

SHOWN_FPR = 0.01  # the colour bar ends at the score that 1 % of healthy voxels exceed, times 2






def write_results(
    volume: Volume,
    found: Located,
    checkpoint: Checkpoint,
    where: OutputNames,
    segmentation: Segmentation | None,
    *,
    percentile: bool = False,
    report: bool = False,
    made: Mapping[str, object],
) -> tuple[list[Path], dict[str, object]]:
    """Write maps, masks, pictures and, last, the JSON that says that the rest is complete: all of them or none.

    Parameters
    ----------
    percentile : also each map as the percentile among healthy voxels, 0 to `where.percentile_top`
    report : also a page for people
    made : `inputs` and `options`, for the JSON

    Returns
    -------
    The files, and the content of the JSON.
    """
    with together() as group:
        paths, masks, pictures = _write_maps(volume, found, checkpoint, where, segmentation, percentile)
        paths += where.companions(volume, found, masks)
        scores = where.scores(volume.path)
        marked = {"masks": masks} if segmentation is not None else {}
        summary = {**summarize(volume, found, checkpoint), **marked, **made}
        if report:
            paths.append(where.page(volume.path))
            write_atomically(paths[-1], scan_page(volume, found, checkpoint, pictures, summary))
        summary["files"] = {
            os.path.relpath(staged.path, scores.parent): sha256_of(Path(staged.temporary)) for staged in group.files
        }
        write_json(scores, summary)
    return [*paths, scores], summary


def _write_maps(
    volume: Volume,
    found: Located,
    checkpoint: Checkpoint,
    where: OutputNames,
    segmentation: Segmentation | None,
    percentile: bool,
) -> tuple[list[Path], dict[str, dict[str, object]], dict[Method, Picture]]:
    """Write the files of every method; return them, what the JSON says of the masks, and what the report shows."""
    written: list[Path] = []
    masks: dict[str, dict[str, object]] = {}
    pictures: dict[Method, Picture] = {}
    for method, scores in found.maps.items():
        path = where.path(volume.path, method, "anomaly.nii.gz")
        write_volume(path, scores, volume)
        written.append(path)
        if percentile:
            path = where.path(volume.path, method, "percentile.nii.gz")
            percentiles = _percentiles(scores, found, checkpoint, method)
            write_volume(path, percentiles * np.float32(where.percentile_top / 100), volume)
            written.append(path)
        model = f"model {checkpoint.facts.contrast} {checkpoint.digest[:8]}"
        title = f"{volume.path.name}   {method}   {model}   research use only"
        mask = None
        if segmentation is not None:
            threshold, source = segmentation.applied(checkpoint, method, bare=found.bare)
            mask, components = threshold_map(
                scores, volume, found.brain, threshold=threshold, min_size_mm3=segmentation.min_size_mm3
            )
            path = where.path(volume.path, method, "mask.nii.gz")
            write_volume(path, mask, volume)
            written.append(path)
            masks[method] = {
                "threshold": threshold,
                "threshold_from": source,
                "min_size_mm3": segmentation.min_size_mm3,
                "volume_ml": float(mask.sum()) * volume.voxel_mm3 / 1000,
                "components": [asdict(component) for component in components],
            }
        ceiling = _ceiling(checkpoint, method, found)
        montage = montage_png(volume, scores, found.brain, title=title, ceiling=ceiling, mask=mask)
        path = where.path(volume.path, method, "anomaly.png")
        write_atomically(path, montage)
        written.append(path)
        pictures[method] = Picture(scores, mask, ceiling or 1.0, montage)
    return written, masks, pictures


def summarize(volume: Volume, found: Located, checkpoint: Checkpoint) -> dict[str, object]:
    """Return what the scores JSON holds: sample-wise scores, percentiles, facts, warnings."""
    samples, healthy = found.scores, checkpoint.facts.healthy
    rows = []
    for index, position in enumerate(samples.positions_mm):
        row: dict[str, object] = {"z_mm": round(float(position), 3), "counted": bool(samples.counted[index])}
        for name, values in samples.slices.items():
            row[name] = float(values[index])
            row[f"{name}_percentile"] = healthy_percentile(row[name], healthy.slices[name]) if healthy else None  # type: ignore[arg-type]
        rows.append(row)
    scores: dict[str, float | None] = {}
    for name, value in samples.volume.items():
        scores[name] = value
        scores[f"{name}_percentile"] = healthy_percentile(value, healthy.volumes[name]) if healthy else None
    return {
        "scan": str(volume.path),
        "volume": scores,
        "volume_rule": "mean over the slices that are counted",
        "slices": rows,
        "brain_ml": float(found.brain.sum()) * volume.voxel_mm3 / 1000,
        "brain_mask": found.brain_source,
        "maps": {method: {"flagged": _flagged(found, checkpoint, method)} for method in found.maps},
        "warnings": [*found.warnings, *odd(found, checkpoint)],
        "model": {
            "sha256": checkpoint.digest,
            "contrast": checkpoint.facts.contrast,
            "seed": checkpoint.facts.training.seed,
            "healthy_subjects": healthy.subjects if healthy else 0,
        },
        "versions": versions(),
        "use": "research only; not a medical device",
    }






def _flagged(found: Located, checkpoint: Checkpoint, method: Method) -> float | None:
    """Return the share of brain voxels above what a share `DEFAULT_FPR` of healthy voxels exceeds."""
    if checkpoint.facts.healthy is None:
        return None
    threshold = healthy_threshold(checkpoint, method, DEFAULT_FPR, raw=found.bare)
    return float(np.mean(found.maps[method][found.brain] > threshold))


def _percentiles(scores: FloatArray, found: Located, checkpoint: Checkpoint, method: Method) -> FloatArray:
    healthy = checkpoint.facts.healthy
    if healthy is None:
        raise UnusableModel(checkpoint.digest[:12], "has no healthy statistics for --percentile; calibrate it")
    quantiles = healthy.raw_maps[method] if found.bare else healthy.maps[method]
    result: FloatArray = np.where(found.brain, 100 * np.interp(scores, quantiles, LEVELS), 0).astype(np.float32)
    return result


def _ceiling(checkpoint: Checkpoint, method: Method, found: Located) -> float:
    if checkpoint.facts.healthy is not None:
        return 2 * healthy_threshold(checkpoint, method, SHOWN_FPR, raw=found.bare)
    return float(found.maps[method].max())
