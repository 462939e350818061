"""A brain on a cube -> its place on the training cohort's mean brain: affine, by mutual information.

Both cubes have their centre at 0 mm and RAS+ axes; SimpleITK sees them in that one frame, so that
no conversion to LPS is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.resampling import itk_image
from vae_loc.vocabulary import BoolArray, FloatArray

if TYPE_CHECKING:
    import SimpleITK as sitk

Affine = NDArray[np.float64]

HISTOGRAM_BINS = 32
SAMPLED_SHARE = 0.3  # of the voxels, on a regular grid: the same ones in every run
ITERATIONS = 200  # a level at most; 0.4 s in all on a cube of 64
STEPS_MM = (1.0, 0.01)  # of the optimizer, halved at every turn; a plain gradient descent ended 5 to 12 mm off
RELAXATION = 0.5
SHRINK_FACTORS, SIGMAS = (3, 1), (2, 0)  # coarse, fine
INTENSITY_PERCENTILES = (1, 99)
BRAIN_OFFSET = 0.3  # of the intensity range, so that the brain's outline counts too
MAX_ZOOM, MAX_STRETCH = 1.35, 1.35  # adults differ by +-15 % a side; axes to each other
MAX_ANGLE_RAD = 0.6  # 34 degrees: a head in a scanner tilts less
MAX_SHIFT_MM = 30.0  # of the centroids, after which something else was matched
ROUNDS = 3  # of the template
TEMPLATE_SUBJECTS = 30  # their mean is smooth; more cost time


def align(data: FloatArray, mask: BoolArray, template: FloatArray, pixel_mm: float) -> tuple[Affine, bool]:
    """Return the affine (4, 4) from template mm to brain mm, and whether it is plausible; else the identity.

    Parameters
    ----------
    data, mask : (N, N, N) of the brain, any intensity scale, any contrast
    template : float32 (N, N, N), what `build_template` made
    """
    import SimpleITK as sitk

    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfWorkUnits(1)  # the same result in every run
    method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
    method.SetMetricSamplingStrategy(method.REGULAR)
    method.SetMetricSamplingPercentage(SAMPLED_SHARE, 1)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(*STEPS_MM, ITERATIONS, RELAXATION, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(SHRINK_FACTORS)
    method.SetSmoothingSigmasPerLevel(SIGMAS)
    transform = sitk.AffineTransform(3)
    method.SetInitialTransform(transform, inPlace=True)
    try:
        method.Execute(_image(template, pixel_mm), _image(_windowed(data, mask), pixel_mm))
    except RuntimeError:  # SimpleITK's way of saying that the images do not overlap
        return np.eye(4), False
    affine = np.eye(4)
    affine[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    affine[:3, 3] = transform.GetTranslation()  # the centre of rotation is 0
    return (affine, True) if plausible(affine) else (np.eye(4), False)


def plausible(affine: Affine) -> bool:
    """Return whether an affine (4, 4) may take one adult's head to another's: no big zoom, shear, turn or shift."""
    if not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) <= 0:
        return False
    left, zooms, right = np.linalg.svd(affine[:3, :3])
    angle = np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))
    return bool(
        zooms.max() <= MAX_ZOOM
        and zooms.min() >= 1 / MAX_ZOOM
        and zooms.max() / zooms.min() <= MAX_STRETCH
        and angle <= MAX_ANGLE_RAD
        and np.linalg.norm(affine[:3, 3]) <= MAX_SHIFT_MM
    )


def build_template(brains: Sequence[tuple[FloatArray, BoolArray]], pixel_mm: float) -> FloatArray:
    """Return the mean of brains (data, mask), (N, N, N) each, after they were aligned to it, in rounds.

    Its size is the brains' mean size: each round undoes the mean affine.
    """
    from scipy.ndimage import affine_transform

    windowed = [_windowed(data, mask) for data, mask in brains]
    template: FloatArray = np.mean(windowed, axis=0, dtype=np.float32)
    middle = (template.shape[0] - 1) / 2
    for _ in range(ROUNDS):
        affines = [align(data, mask, template, pixel_mm)[0] for data, mask in brains]
        back = np.linalg.inv(np.mean(affines, axis=0))
        aligned = []
        for image, affine in zip(windowed, affines, strict=True):
            of = affine @ back
            offset = middle + of[:3, 3] / pixel_mm - of[:3, :3] @ np.full(3, middle)
            aligned.append(affine_transform(image, of[:3, :3], offset, order=1))
        template = np.mean(aligned, axis=0, dtype=np.float32)
    return template


def _windowed(data: FloatArray, mask: BoolArray) -> FloatArray:
    """Return the brain between `BRAIN_OFFSET` and 1 + `BRAIN_OFFSET`, 0 outside."""
    low, high = np.percentile(data[mask], INTENSITY_PERCENTILES)
    scaled = np.clip((data - low) / ((high - low) or 1.0), 0, 1) + BRAIN_OFFSET
    result: FloatArray = np.where(mask, scaled, 0).astype(np.float32)
    return result


def _image(array: FloatArray, pixel_mm: float) -> sitk.Image:
    image = itk_image(array)
    image.SetSpacing((pixel_mm,) * 3)
    image.SetOrigin((-pixel_mm * (array.shape[0] - 1) / 2,) * 3)
    return image
