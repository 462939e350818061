"""SimpleITK's affine registration by mutual information: slower, for brains that the other way fits badly.

SimpleITK sees both cubes in their own frame, so that no conversion to LPS is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from vae_loc.preprocessing.pose import Affine, windowed
from vae_loc.preprocessing.resampling import itk_image
from vae_loc.vocabulary import BoolArray, FloatArray

if TYPE_CHECKING:
    import SimpleITK as sitk

HISTOGRAM_BINS = 32
SAMPLED_SHARE = 0.3  # of the voxels, on a regular grid: the same ones in every run
ITERATIONS = 200  # a level at most; 0.4 s in all on a cube of 64
STEPS_MM = (1.0, 0.01)  # of the optimizer, halved at every turn; a plain gradient descent ended 5 to 12 mm off
RELAXATION = 0.5
SHRINK_FACTORS, SIGMAS = (3, 1), (2, 0)  # coarse, fine


def align_by_itk(data: FloatArray, mask: BoolArray, template: FloatArray, pixel_mm: float) -> Affine:
    """Return the affine (4, 4) from template mm to brain mm; the identity if the images do not overlap.

    Parameters
    ----------
    data, mask : float32 and bool (N, N, N) of the brain, any intensity scale, any contrast
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
    affine = np.eye(4)
    try:
        method.Execute(_image(template, pixel_mm), _image(windowed(data, mask), pixel_mm))
    except RuntimeError:  # SimpleITK's way of saying that the images do not overlap
        return affine
    affine[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    affine[:3, 3] = transform.GetTranslation()  # the centre of rotation is 0
    return affine


def _image(array: FloatArray, pixel_mm: float) -> sitk.Image:
    image = itk_image(array)
    image.SetSpacing((pixel_mm,) * 3)
    image.SetOrigin((-pixel_mm * (array.shape[0] - 1) / 2,) * 3)
    return image
