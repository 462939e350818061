"""A brain on a cube -> its place on the mean healthy brain: affine, by inverse-compositional Gauss-Newton; that mean.

The template T is moved towards the image I, whose intensities are fitted along, so that any contrast aligns:

    min over A, f, b of  sum_x w(x) ( I(A x) - f(T(x)) - T(x) b(x) )^2

A is affine in mm, f a piecewise-linear curve, b a polynomial (shading of the coil), w bisquare weights that leave out
lesions and what is missing. Each step solves for a small motion d of the template and composes its inverse,
A <- A (1 + d)^-1, so that the derivatives of T do not depend on A and are made once (Baker & Matthews 2004,
doi:10.1023/B:VISI.0000011205.11775.fd). Where that fits badly, SimpleITK's mutual information is tried too; it sees
both cubes in their own frame, so that no conversion to LPS is needed.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.pose import (
    ALIGNED_OUTLINE,
    BRAIN_OFFSET,
    MATCHED_OUTLINE,
    Affine,
    centroid_mm,
    cut_faces,
    plausible,
    windowed,
)
from vae_loc.preprocessing.regions import bounding_box, itk_image
from vae_loc.preprocessing.resampling import block_means
from vae_loc.preprocessing.robust_fit import REGISTRATION_CUT_SD, SD_PER_MAD, bisquare
from vae_loc.preprocessing.template_levels import (
    KNOTS,
    NORM_MM,
    Limits,
    TemplateLevel,
    known,
    sampled,
    template_levels,
)
from vae_loc.vocabulary import BoolArray, FloatArray

CURVE_RIDGE, MOTION_RIDGE = 1e-3, 1e-6  # of the mean diagonal: a part of the curve may have no voxel
STILL_MM, STILL_POINTS = 0.02, 17  # a smaller step ends a level of one pixel a block; every n-th point is looked at
MIN_KNOWN = 0.25  # of the template's brain, else there is nothing to match
ROUNDS = 3
TEMPLATE_SUBJECTS = 30  # their mean is smooth; more cost time


def align(data: FloatArray, mask: BoolArray, template: FloatArray, pixel_mm: float) -> tuple[Affine, bool]:
    """Return the affine (4, 4) from template mm to brain mm, and whether it is plausible; else the identity.

    Parameters
    ----------
    data, mask : float32 and bool (N, N, N) of the brain, any intensity scale, any contrast
    template : float32 (N, N, N), made by `build_template`
    """
    brain = template > BRAIN_OFFSET
    if not mask.any() or not brain.any():
        return np.eye(4), False
    start, limits = _start(mask, brain, pixel_mm)
    image = windowed(data, mask)
    pairs = [(block_means(image, (level.block,) * 3), level) for level in template_levels(template, pixel_mm)]
    # all 12 numbers at once: right for nearly every brain
    affine = _fitted(pairs, start, limits)
    outline = functools.partial(_outline, *pairs[1], limits)
    if plausible(affine, start[:3, 3]) and outline(affine) >= ALIGNED_OUTLINE:
        return affine, True
    # else fewer numbers: motions (12, 7) that turn, zoom alike and shift; and mutual information
    similarity = np.zeros((3, 4, 7), dtype=np.float32)
    for number, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        similarity[i, j, number], similarity[j, i, number] = 1, -1
    for i in range(3):
        similarity[i, i, 3] = similarity[i, 3, 4 + i] = 1
    similar = _fitted(pairs, start, limits, similarity.reshape(12, 7))
    by_itk = align_by_itk(data, mask, template, pixel_mm)
    # the best outline of the three counts
    good = [(outline(tried), tried) for tried in (affine, similar, by_itk) if plausible(tried, start[:3, 3])]
    dice, best = max(good, key=lambda of: of[0], default=(0.0, affine))
    return (best, True) if dice >= MATCHED_OUTLINE else (np.eye(4), False)


def _start(mask: BoolArray, brain: BoolArray, pixel_mm: float) -> tuple[Affine, Limits]:
    """Return the affine to start from, and the limits of the image: where a mask is cut straight, the brain goes on."""
    start, limits = np.eye(4), np.array([[-np.inf] * 3, [np.inf] * 3], dtype=np.float32)
    start[:3, 3] = centroid_mm(mask, pixel_mm) - centroid_mm(brain, pixel_mm)
    ends, own = (np.array([(span.start, span.stop - 1) for span in bounding_box(of)]) for of in (mask, brain))
    for axis, cut in enumerate(cut_faces(mask)):
        limits[cut, axis] = ((ends[axis] - (len(mask) - 1) / 2) * pixel_mm)[cut]
        if cut[0] != cut[1]:  # the centroid of a part is not that of the whole: the end that is whole is matched
            whole = 1 if cut[0] else 0
            start[axis, 3] = (ends[axis] - own[axis])[whole] * pixel_mm
    return start, limits


def _fitted(
    pairs: Sequence[tuple[FloatArray, TemplateLevel]], affine: Affine, limits: Limits, basis: FloatArray | None = None
) -> Affine:
    """Return the affine after all pairs of image and template, coarse to fine; `basis` (12, P) confines its motions."""
    for image, level in pairs:
        weight = known(level, affine, limits)
        for _ in range(level.steps):
            # compose the inverse of the template's motion
            change, residual = _step(level, sampled(image, level, affine), weight, basis)
            affine = affine @ np.linalg.inv(change)
            # weigh anew: nothing beyond the limits, little where the residual is large
            seen = known(level, affine, limits)
            spread = SD_PER_MAD * float(np.median(np.abs(residual[seen > 0]))) if seen.any() else 1.0
            weight = seen * bisquare(residual, REGISTRATION_CUT_SD * spread + 1e-6)
            # stop when no point moves
            moved = level.points[::STILL_POINTS] @ (change[:3, :3] - np.eye(3)).T + change[:3, 3]
            if np.abs(moved).max() < STILL_MM * level.block:
                break
    return affine


def _step(
    level: TemplateLevel, values: FloatArray, weight: FloatArray, basis: FloatArray | None
) -> tuple[Affine, FloatArray]:
    """Return the motion (4, 4) of the template that explains an image's values (N,), and the residuals before it."""
    # fit the intensities: the curve f and the shading b
    shades, weighted = level.shades, level.shades * weight[:, None]
    gram = _ridged(weighted.T @ shades, CURVE_RIDGE)
    look = np.linalg.solve(gram, weighted.T @ values)
    residual: FloatArray = values - shades @ look.astype(np.float32)
    # derivatives of f(T) by the motion: slope of the curve times steepest descent
    slopes = (np.diff(look[: len(KNOTS)]) / np.diff(KNOTS)).astype(np.float32)
    steepest = level.steepest * slopes[level.segment][:, None]
    if basis is not None:
        steepest = steepest @ basis
    # solve for the motion, from which the intensities are projected out
    heavy = steepest * weight[:, None]
    cross = heavy.T @ shades
    hessian = _ridged(heavy.T @ steepest - cross @ np.linalg.solve(gram, cross.T), MOTION_RIDGE)
    motion = np.linalg.solve(hessian, heavy.T @ residual)
    if basis is not None:
        motion = basis @ motion
    change = np.eye(4)
    change[:3] += motion.reshape(3, 4) / (NORM_MM, NORM_MM, NORM_MM, 1)
    return change, residual


def _outline(image: FloatArray, level: TemplateLevel, limits: Limits, affine: Affine) -> float:
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


def align_by_itk(data: FloatArray, mask: BoolArray, template: FloatArray, pixel_mm: float) -> Affine:
    """Return the affine (4, 4) by mutual information, as `align`; the identity if the images do not overlap."""
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(1)  # the same result in every run
    method.SetMetricAsMattesMutualInformation(32)  # bins
    method.SetMetricSamplingStrategy(method.REGULAR)  # the same voxels in every run
    method.SetMetricSamplingPercentage(0.3, 1)
    method.SetInterpolator(sitk.sitkLinear)
    # steps of 1 to 0.01 mm, halved at every turn, 200 a level at most; a plain gradient descent ended 5 to 12 mm off
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 0.01, 200, 0.5, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel((3, 1))  # coarse, fine
    method.SetSmoothingSigmasPerLevel((2, 0))
    transform = sitk.AffineTransform(3)
    method.SetInitialTransform(transform, inPlace=True)
    fixed, moving = itk_image(template), itk_image(windowed(data, mask))
    for image in (fixed, moving):
        image.SetSpacing((pixel_mm,) * 3)
        image.SetOrigin((-pixel_mm * (len(template) - 1) / 2,) * 3)
    affine = np.eye(4)
    try:
        method.Execute(fixed, moving)
    except RuntimeError:  # SimpleITK's way of saying that the images do not overlap
        return affine
    affine[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    affine[:3, 3] = transform.GetTranslation()  # the centre of rotation is 0
    return affine


def build_template(brains: Sequence[tuple[FloatArray, BoolArray]], pixel_mm: float) -> FloatArray:
    """Return the mean of brains, float32 (N, N, N), after they were aligned to it, in rounds.

    Its size is the brains' mean size: each round undoes the mean affine. It is rounded to the 16 bits in which models
    store it, so that training and scoring align to the same numbers.

    Parameters
    ----------
    brains : data float32 and mask bool, (N, N, N) each
    """
    from scipy.ndimage import affine_transform

    images = [windowed(data, mask) for data, mask in brains]
    template: FloatArray = np.mean(images, axis=0, dtype=np.float32)
    middle = (template.shape[0] - 1) / 2
    for _ in range(ROUNDS):
        affines = [align(data, mask, template, pixel_mm)[0] for data, mask in brains]
        back = np.linalg.inv(np.mean(affines, axis=0))
        aligned = []
        for image, affine in zip(images, affines, strict=True):
            of = affine @ back
            offset = middle + of[:3, 3] / pixel_mm - of[:3, :3] @ np.full(3, middle)
            aligned.append(affine_transform(image, of[:3, :3], offset, order=1))
        template = np.mean(aligned, axis=0, dtype=np.float32)
    rounded: FloatArray = template.astype(np.float16).astype(np.float32)
    return rounded
