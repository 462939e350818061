"""Another scanner or mask: what is healthy stays healthy, what is odd is found."""

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion
from support.commands import invoke
from support.marks import full
from support.phantoms import AFFINE, BALL, SHAPE, centred, phantom, save


@pytest.mark.parametrize(("gain", "polarity"), [(3.0, "bright"), (0.3, "dark")])
def test_a_bright_and_a_dark_ball_are_both_found(tmp_path, model_file, gain, polarity):
    path = save(tmp_path / "b_t1.nii.gz", phantom(AFFINE, SHAPE, ball=BALL, gain=gain)[0], AFFINE)
    for wanted in ("any", polarity):
        invoke("score", path, "-m", model_file, "-o", tmp_path, "--method", "rec-error", "--polarity", wanted)
        sign = "" if wanted == "any" else polarity
        scores = nib.load(tmp_path / f"b_t1_desc-recerror{sign}_anomaly.nii.gz").get_fdata()
        peak = AFFINE[:3, :3] @ np.unravel_index(scores.argmax(), SHAPE) + AFFINE[:3, 3]
        assert np.linalg.norm(peak - BALL) < 16


def of_another_scanner(folder, kind):
    """The healthy phantom as another scanner shows it, its brain, and the mask the user gives, if any."""
    affine, shape = AFFINE, SHAPE
    if kind == "resolution":
        shape = (64, 73, 24)
        affine = centred(np.diag([2.5, 2.5, 6.0]), shape)
    data, inside = phantom(affine, shape, seed=0.15)
    if kind == "gamma":
        data = np.where(inside, 100 * (data / 100) ** 1.3, 0)
    if kind == "bias":
        data = data * np.exp(0.1 * np.linspace(-1, 1, shape[0]))[:, None, None]
    mask = None
    if kind == "tight mask":
        mask = save(folder / "mask.nii.gz", binary_erosion(inside).astype(np.uint8), affine)
    if kind == "wide mask":
        wide = binary_dilation(inside)
        data = np.where(wide & ~inside, 20, data)  # fluid
        mask = save(folder / "mask.nii.gz", wide.astype(np.uint8), affine)
    return save(folder / "h_t1.nii.gz", data.astype(np.float32), affine), inside, mask


@pytest.mark.parametrize("kind", [full("same"), "gamma", full("bias"), "resolution", full("tight mask"), "wide mask"])
def test_a_healthy_phantom_of_another_scanner_is_not_flagged(tmp_path, model_file, kind):
    path, inside, mask = of_another_scanner(tmp_path, kind)
    options = ["--brain-mask", mask] if mask else []
    invoke("segment", path, "-m", model_file, "-o", tmp_path, "--fpr", "0.05", "--min-size", "0", *options)
    flagged = nib.load(tmp_path / "h_t1_desc-combi_mask.nii.gz").get_fdata() > 0
    assert flagged[inside].mean() <= 0.08
