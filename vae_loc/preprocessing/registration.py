"""A brain on a cube -> its place on the mean healthy brain: affine, by inverse-compositional Gauss-Newton.

The template T is moved towards the image I, whose intensities are fitted along, so that any contrast aligns:

    min over A, f, b of  sum_x w(x) ( I(A x) - f(T(x)) - T(x) b(x) )^2

A is affine in mm, f a piecewise-linear curve, b a polynomial (shading of the coil), w bisquare weights that leave out
lesions and what is missing. Each step solves for a small motion d of the template and composes its inverse,
A <- A (1 + d)^-1, so that the derivatives of T do not depend on A and are made once (Baker & Matthews 2004,
doi:10.1023/B:VISI.0000011205.11775.fd). Where that fits badly, SimpleITK's mutual information is tried too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.itk_registration import align_by_itk
from vae_loc.preprocessing.pose import BRAIN_OFFSET, Affine, centroid_mm, plausible, windowed
from vae_loc.preprocessing.template_levels import (
    KNOTS,
    NORM_MM,
    Limits,
    TemplateLevel,
    joined,
    known,
    sampled,
    template_levels,
)
from vae_loc.vocabulary import BoolArray, FloatArray

CUT_SD, SD_PER_MAD = 6.0, 1.4826  # robust standard deviations from which on a voxel has no say
CURVE_RIDGE, MOTION_RIDGE = 1e-3, 1e-6  # of the mean diagonal: a part of the curve may have no voxel
STILL_MM = 0.02  # a smaller step ends a level of one pixel a block
CUT_FACE = 0.35  # of a face of the mask's box: a mask that covers more goes on beyond it
MIN_KNOWN = 0.25  # of the template's brain, else there is nothing to match
MIN_MATCH = 0.65  # Dice of the outlines, below which nothing was matched
MIN_OUTLINE = 0.88  # Dice of the outlines after alignment: .91 and more where it is right


def align(
    data: FloatArray,
    mask: BoolArray,
    template: FloatArray,
    pixel_mm: float,
) -> tuple[Affine, bool]:
    """Return the affine (4, 4) from template mm to brain mm, and whether it is plausible; else the identity.

    Parameters
    ----------
    data, mask : float32 and bool (N, N, N) of the brain, any intensity scale, any contrast
    template : float32 (N, N, N), what `build_template` made
    """
    brain = template > BRAIN_OFFSET
    if not mask.any() or not brain.any():
        return np.eye(4), False
    start, limits = _start(mask, brain, pixel_mm)
    levels = template_levels(template, pixel_mm)
    image = windowed(data, mask)
    images = [joined(image, level.block) for level in levels]
    affine = _fitted(images, levels, start, limits, None)
    outline = _outline(images[1], levels[1], affine, limits)
    if plausible(affine, start[:3, 3]) and outline >= MIN_OUTLINE:
        return affine, True
    others = _fitted(images, levels, start, limits, SIMILARITY), align_by_itk(data, mask, template, pixel_mm)
    tried = [(outline, affine), *((_outline(images[1], levels[1], other, limits), other) for other in others)]
    good = [(dice, other) for dice, other in tried if dice >= MIN_MATCH and plausible(other, start[:3, 3])]
    return (max(good, key=lambda of: of[0])[1], True) if good else (np.eye(4), False)


def _start(mask: BoolArray, brain: BoolArray, pixel_mm: float) -> tuple[Affine, Limits]:
    """Return where to start, and what is known of the image: where a mask is cut straight, the brain goes on."""
    start, limits = np.eye(4), np.array([[-np.inf] * 3, [np.inf] * 3], dtype=np.float32)
    start[:3, 3] = centroid_mm(mask, pixel_mm) - centroid_mm(brain, pixel_mm)
    used, own = ([np.flatnonzero(of.any(axis=tuple({0, 1, 2} - {a}))) for a in range(3)] for of in (mask, brain))
    for axis in range(3):
        ends = used[axis][[0, -1]]
        face = np.prod([len(used[other]) for other in {0, 1, 2} - {axis}])
        cut = np.array([np.count_nonzero(np.take(mask, end, axis)) > CUT_FACE * face for end in ends])
        limits[cut, axis] = ((ends - (len(mask) - 1) / 2) * pixel_mm)[cut]
        if cut[0] != cut[1]:
            whole = 1 if cut[0] else 0
            start[axis, 3] = (ends[whole] - own[axis][[0, -1]][whole]) * pixel_mm
    return start, limits


def _fitted(
    images: Sequence[FloatArray],
    levels: Sequence[TemplateLevel],
    affine: Affine,
    limits: Limits,
    basis: FloatArray | None,
) -> Affine:
    """Return the affine after all levels; `basis` (12, P) confines its motions."""
    for image, level in zip(images, levels, strict=True):
        weight = known(level, affine, limits)
        for _ in range(level.steps):
            values = sampled(image, level, affine)
            change, residual = _step(level, values, weight, basis)
            affine = affine @ np.linalg.inv(change)
            seen = known(level, affine, limits)
            spread = SD_PER_MAD * float(np.median(np.abs(residual[seen > 0]))) if seen.any() else 1.0
            weight = seen * np.maximum(1 - (residual / (CUT_SD * spread + 1e-6)) ** 2, 0) ** 2
            if (
                np.abs(level.points[::17] @ (change[:3, :3] - np.eye(3)).T + change[:3, 3]).max()
                < STILL_MM * level.block
            ):
                break
    return affine


def _step(
    level: TemplateLevel, values: FloatArray, weight: FloatArray, basis: FloatArray | None
) -> tuple[Affine, FloatArray]:
    """Return the motion (4, 4) of the template that explains an image's values (N,), and the residuals before it."""
    shades, weighted = level.shades, level.shades * weight[:, None]
    gram = _ridged(weighted.T @ shades, CURVE_RIDGE)
    look = np.linalg.solve(gram, weighted.T @ values)
    residual: FloatArray = values - shades @ look.astype(np.float32)
    slopes = (np.diff(look[: len(KNOTS)]) / np.diff(KNOTS)).astype(np.float32)
    steepest = level.steepest * slopes[level.segment][:, None]
    if basis is not None:
        steepest = steepest @ basis
    heavy = steepest * weight[:, None]
    cross = heavy.T @ shades
    hessian = _ridged(heavy.T @ steepest - cross @ np.linalg.solve(gram, cross.T), MOTION_RIDGE)
    motion = np.linalg.solve(hessian, heavy.T @ residual)
    if basis is not None:
        motion = basis @ motion
    change = np.eye(4)
    change[:3] += motion.reshape(3, 4) / (NORM_MM, NORM_MM, NORM_MM, 1)
    return change, residual


def _outline(image: FloatArray, level: TemplateLevel, affine: Affine, limits: Limits) -> float:
    """Return the Dice of the outlines of image and template where the image is known; 0 if too little is known."""
    seen = known(level, affine, limits) > 0
    if np.count_nonzero(level.brain & seen) < MIN_KNOWN * np.count_nonzero(level.brain):
        return 0.0
    inside, brain = sampled(image, level, affine)[seen] > BRAIN_OFFSET / 2, level.brain[seen]
    both, either = np.count_nonzero(inside & brain), np.count_nonzero(inside) + np.count_nonzero(brain)
    return 2 * both / either if either else 0.0


def _ridged(matrix: NDArray[np.floating], share: float) -> NDArray[np.float64]:
    """Return a square matrix with a share of its mean diagonal, and a little, added to the diagonal."""
    return matrix + (share * float(np.trace(matrix)) / len(matrix) + 1e-6) * np.eye(len(matrix))


def _similarity_basis() -> FloatArray:
    """Return the motions (12, 7) that turn, zoom alike and shift."""
    basis = np.zeros((3, 4, 7), dtype=np.float32)
    for number, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        basis[i, j, number], basis[j, i, number] = 1, -1
    for i in range(3):
        basis[i, i, 3] = basis[i, 3, 4 + i] = 1
    return basis.reshape(12, 7)


SIMILARITY = _similarity_basis()
