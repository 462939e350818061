"""The parts of a scan's page: charts of scores among healthy ones, and volumes for the viewer as NIfTI in base64."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from vae_loc.model.facts import LEVELS, healthy_percentile
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import all_from_canonical
from vae_loc.preprocessing.regions import Box, bounding_box
from vae_loc.results.scan_summary import Z_DIGITS
from vae_loc.scans.volume import Volume
from vae_loc.scoring.locate import Located
from vae_loc.vocabulary import SAMPLE_SCORES, BoolArray, FloatArray

WIDTH, HEIGHT = 600.0, 150.0  # of a drawing, in its own units
EDGE = 0.04  # of the width, free on both sides
SHOWN = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)  # healthy quantiles of a strip
HEALTHY_BAND = (0.05, 0.95)
QUARTILES = (25, 50, 75)
MARGIN_MM = 10.0  # around the brain
MAX_SHOWN_VOXELS = 16_000_000  # of a layer; a head of 1 mm has half of it. Beyond, voxels are joined to blocks
STEPS = 255  # of 8 bits


def strips(located: Located, model: Model) -> list[dict[str, object]]:
    """Return the places of the scores of the whole scan among those of healthy scans, each on a line of its own.

    `marks` are the x of the healthy quantiles `SHOWN`, `at` is the x of the scan.
    """
    if model.facts.healthy is None:
        return []
    lines: list[dict[str, object]] = []
    for name in SAMPLE_SCORES:
        value, quantiles = located.scores.volume[name], model.facts.healthy.volumes[name]
        healthy = np.interp(SHOWN, LEVELS, quantiles)
        x = _axis(min(healthy[0], value), max(healthy[-1], value), WIDTH)
        lines.append(
            {
                "name": name,
                "value": value,
                "percentile": healthy_percentile(value, quantiles),
                "marks": [round(x(mark), 1) for mark in healthy],
                "at": round(x(value), 1),
                "healthy": (float(healthy[1]), float(healthy[-2])),
            }
        )
    return lines


def profile(located: Located, model: Model) -> dict[str, object] | None:
    """Return the ELBO of the slices that count, by height, and the range of 9 in 10 healthy slices.

    `line` holds the points, `band` y of the healthy range's limits, `heights` and `values` the axes' labels.
    """
    healthy, counted = model.facts.healthy, located.scores.counted
    if healthy is None or np.count_nonzero(counted) < 2:
        return None
    low, high = (float(limit) for limit in np.interp(HEALTHY_BAND, LEVELS, healthy.slices["elbo"]))
    heights_mm = [round(float(height), Z_DIGITS) for height in located.scores.positions_mm[counted]]
    values = located.scores.slices["elbo"][counted].tolist()
    x = _axis(min(heights_mm), max(heights_mm), WIDTH)
    top, bottom = max(*values, high), min(*values, low)
    y = _axis(bottom, top, HEIGHT)
    points = sorted(zip(heights_mm, values, strict=True))
    return {
        "line": " ".join(f"{x(height):.1f},{HEIGHT - y(value):.1f}" for height, value in points),
        "band": (round(HEIGHT - y(high), 1), round(HEIGHT - y(low), 1)),
        "heights": [(x(z), f"{z:+.0f}") for z in np.linspace(points[0][0], points[-1][0], 5)],
        "values": [(HEIGHT - y(value), f"{value:.0f}") for value in (bottom, top)],
    }


def _axis(low: float, high: float, length: float) -> Callable[[float], float]:
    """Return the way from values to a drawing's coordinates, with an edge left free."""
    span = (high - low) or 1.0
    return lambda value: float((EDGE + (1 - 2 * EDGE) * (value - low) / span) * length)


def expected_scan(located: Located) -> FloatArray:
    """Return the reconstruction g(mu) of a brain on the scan's own grid, float32 (I, J, K), 0 outside the brain.

    It has the canonical resolution: 3 mm at 64 pixels. Its median and interquartile range are brought to those of the
    scan's brain, so that both are seen in one window.
    """
    scan, canonical = located.scan, located.canonical
    (on_grid,) = all_from_canonical([located.reconstruction], canonical, scan.volume.affine, scan.brain)
    low, middle, high = np.percentile(scan.volume.data[scan.brain], QUARTILES)
    own_low, own_middle, own_high = np.percentile(canonical.data[canonical.mask], QUARTILES)
    gain = (high - low) / ((own_high - own_low) or 1.0)
    result: FloatArray = np.where(scan.brain, middle + gain * (on_grid - own_middle), 0).astype(np.float32)
    return result


@dataclass(frozen=True)
class Crop:
    """The part of a grid that is shown.

    Attributes
    ----------
    box : slices of the scan's array (I, J, K)
    block : voxels an axis that are joined to one shown
    affine : float64 (4, 4), indices of what is shown to RAS+ mm
    """

    box: Box
    block: tuple[int, int, int]
    affine: NDArray[np.float64]


def crop_to(brain: BoolArray, volume: Volume) -> Crop:
    """Return the box around the brain, bool (I, J, K), `MARGIN_MM` wider, in blocks small enough for a page.

    Blocks join the shortest voxel axis first, so that what is shown stays near isotropic.
    """
    i, j, k = (math.ceil(MARGIN_MM / spacing) for spacing in volume.spacing_mm)
    box = bounding_box(brain, margin=(i, j, k))
    block = np.ones(3, dtype=int)
    sides = np.array([part.stop - part.start for part in box])
    while math.prod(-(-sides // block)) > MAX_SHOWN_VOXELS:
        block[int(np.argmin(block * volume.spacing_mm))] += 1
    first = np.array([part.start for part in box]) + (block - 1) / 2
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ first
    affine[:3, :3] *= block
    return Crop(box, (int(block[0]), int(block[1]), int(block[2])), affine)


def layer(values: NDArray[np.generic], crop: Crop, *, low: float, high: float, highest: bool = False) -> str:
    """Return part of a volume as base64 of a NIfTI of 8 bits whose slope gives the values back.

    Parameters
    ----------
    values : (I, J, K) on the scan's grid
    low, high : what the 256 steps span; values beyond are shown as these
    highest : a block shows its highest voxel instead of the mean, so that no lesion is thinned out
    """
    from isal import igzip

    shown = np.asarray(values[crop.box], dtype=np.float32)
    if max(crop.block) > 1:
        (i, a), (j, b), (k, c) = ((-(-n // size), size) for n, size in zip(shown.shape, crop.block, strict=True))
        ends = np.subtract((i * a, j * b, k * c), shown.shape)
        blocks = np.pad(shown, [(0, end) for end in ends]).reshape(i, a, j, b, k, c)
        shown = (np.max if highest else np.mean)(blocks, axis=(1, 3, 5))
    step = (high - low) / STEPS or 1.0
    stored = np.clip(np.round((shown - low) / step), 0, STEPS).astype(np.uint8)
    image = nib.Nifti1Image(stored, crop.affine)
    image.header.set_slope_inter(step, low)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(igzip.compress(image.to_bytes(), compresslevel=3, mtime=0)).decode("ascii")


def viewer_data(
    scans: Sequence[Mapping[str, object]],
    maps: Sequence[Mapping[str, object]],
    crop: Crop,
    colours: Mapping[str, Sequence[int]],
) -> dict[str, object]:
    """Return the data of a page's script: the scans side by side, and the maps, whose grid is `crop`.

    A scan is its name, NIfTI, expectation or None, and windows of grey values; a map is its method, a NIfTI for each
    colour, that of the findings' numbers or None, and limits.
    """
    return {
        "scans": scans,
        "maps": maps,
        "colours": {name: [f"#{colour:06x}" for colour in of] for name, of in colours.items()},
        "voxel2mm": crop.affine.tolist(),
        "mm2voxel": np.linalg.inv(crop.affine).tolist(),
        "spacing": [round(float(side), 2) for side in np.linalg.norm(crop.affine[:3, :3], axis=0)],
        "joined": max(crop.block) > 1,
    }
