"""Pictures where people would rather look than read: the montage of a scan and its map."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel as nib
import numpy as np

from vae_loc.volume import BoolArray, FloatArray, Volume, write_atomically

ROWS, COLUMNS = 4, 6  # slices shown, evenly spaced through the brain
WINDOW_PERCENTILES = (1, 99)  # of the brain's intensities, black to white
MAX_OPACITY = 0.75  # of the map over the scan
DOTS_PER_INCH = 110


def save_montage(
    path: Path,
    volume: Volume,
    scores: FloatArray,
    brain: BoolArray,
    *,
    title: str,
    ceiling: float,
    mask: BoolArray | None = None,
) -> None:
    """Write a PNG of axial slices: scan in grey, map in colour, outline of brain and mask.

    Parameters
    ----------
    scores : float32 (I, J, K) on the grid of `volume`, >= 0
    ceiling : score shown at full colour; colour and opacity rise linearly to it
    mask : what was segmented, outlined in cyan

    Radiological view: the patient's right is on the left of the picture, front is up.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    scan, heat, inside, found = (
        _axial(array, volume)
        for array in (volume.data, scores, brain, mask if mask is not None else np.zeros_like(brain))
    )
    heights = np.flatnonzero(inside.any(axis=(1, 2)))
    shown = heights[np.linspace(0, len(heights) - 1, ROWS * COLUMNS + 2).round().astype(int)[1:-1]]
    rows, columns = (slice(int(used.min()), int(used.max()) + 1) for used in np.nonzero(inside.any(axis=0)))
    low, high = np.percentile(volume.data[brain], WINDOW_PERCENTILES)
    width_mm = (columns.stop - columns.start) * _axis_spacing(volume)[0]
    height_mm = (rows.stop - rows.start) * _axis_spacing(volume)[1]
    figure = Figure(figsize=(2 * COLUMNS + 1, 2 * ROWS * height_mm / width_mm + 0.8), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(ROWS, COLUMNS, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    colour = Normalize(0, ceiling or 1)
    for axis, k in zip(axes.ravel(), shown, strict=True):
        aspect = _axis_spacing(volume)[1] / _axis_spacing(volume)[0]
        layer = heat[k, rows, columns]
        axis.imshow(scan[k, rows, columns], cmap="gray", vmin=low, vmax=high, aspect=aspect)
        axis.imshow(
            layer, cmap="inferno", norm=colour, alpha=MAX_OPACITY * np.clip(layer / (ceiling or 1), 0, 1), aspect=aspect
        )
        for outline, style in ((inside, "#6f6f6f"), (found, "cyan")):
            if outline[k, rows, columns].any():
                axis.contour(outline[k, rows, columns], levels=[0.5], colors=style, linewidths=0.8)
        axis.set_axis_off()
        axis.text(
            0.02, 0.98, _height_label(volume, int(k)), color="white", fontsize=7, va="top", transform=axis.transAxes
        )
    for side, x in (("R", 0.005), ("L", 0.985)):
        for axis in axes[:, 0] if side == "R" else axes[:, -1]:
            axis.text(x, 0.5, side, color="yellow", fontsize=10, va="center", transform=axis.transAxes)
    figure.subplots_adjust(left=0.01, right=0.91, top=1 - 0.4 / figure.get_figheight(), bottom=0.02)
    bar = figure.colorbar(ScalarMappable(colour, "inferno"), cax=figure.add_axes((0.925, 0.15, 0.015, 0.7)))
    bar.ax.tick_params(colors="white", labelsize=7)
    figure.suptitle(title, color="white", fontsize=9, y=1 - 0.1 / figure.get_figheight(), va="top")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH, facecolor="black", metadata={"Software": None})
    write_atomically(path, buffer.getvalue())


def _orientation(volume: Volume) -> np.ndarray:
    """Transform of array axes to (S, P, L): slices upwards, rows to the back, columns to the left."""
    start = nib.orientations.io_orientation(volume.affine)
    end = nib.orientations.axcodes2ornt("SPL")
    return np.asarray(nib.orientations.ornt_transform(start, end))


def _axial(array: np.ndarray, volume: Volume) -> np.ndarray:
    return np.asarray(nib.orientations.apply_orientation(array, _orientation(volume)))


def _axis_spacing(volume: Volume) -> tuple[float, float]:
    """(column, row) spacing in mm of the pictures."""
    order = np.argsort(_orientation(volume)[:, 0])
    spacing = np.array(volume.spacing_mm)[order]
    return float(spacing[2]), float(spacing[1])


def _height_label(volume: Volume, k: int) -> str:
    """Height in RAS+ mm of the centre of slice `k` in the pictures."""
    affine = volume.affine @ nib.orientations.inv_ornt_aff(_orientation(volume), volume.data.shape)
    shape = _axial(volume.data, volume).shape
    centre = affine @ [k, (shape[1] - 1) / 2, (shape[2] - 1) / 2, 1]
    return f"z {centre[2]:+.0f} mm"
