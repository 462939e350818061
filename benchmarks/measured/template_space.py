"""The way from the mean brain to MNI152NLin2009aSym, and how far off deep structures are there.

    pip install nilearn
    python -m benchmarks.measured.template_space -o docs/measured/template-space.md

The skull-stripped template that nilearn ships is aligned to the mean brain of the atlas as a scan is: an affine of 12
numbers. A structure of the atlas is then compared with the centre of gravity of the same structure in AAL
(Tzourio-Mazoyer et al. 2002, doi:10.1006/nimg.2001.0978), which labels another brain in MNI space.
"""

from __future__ import annotations

import numpy as np
from nibabel.affines import apply_affine
from nilearn import __version__
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template

from benchmarks.command import finish, made_by, parser_of, reading
from benchmarks.page import table
from vae_loc.preprocessing.pose import BRAIN_OFFSET, cube_affine, grid_around, moved_grid
from vae_loc.preprocessing.registration import align
from vae_loc.preprocessing.resampling import low_passed, lowpass_sigmas, resampled
from vae_loc.scoring.anatomy import ATLAS2MNI_MM, atlas, regions
from vae_loc.vocabulary import MNI

KNOWN_MM = {  # left and right
    "hippocampus": ((-25, -21, -10), (29, -20, -10)),
    "amygdala": ((-23, -1, -17), (27, 1, -18)),
    "caudate nucleus": ((-11, 11, 9), (15, 12, 9)),
    "putamen": ((-24, 4, 2), (28, 5, 2)),
    "pallidum": ((-18, 0, 0), (21, 0, 0)),
    "thalamus": ((-11, -18, 8), (13, -18, 8)),
}


def atlas2mni_mm():
    """Return the affine (4, 4) from mm on the atlas's mean brain to mm of the template, and the Dice of both outlines."""
    template, mask = load_mni152_template(1), load_mni152_brain_mask(1).get_fdata() > 0
    mean_brain, pixel_mm = atlas().mean_brain, atlas().pixel_mm
    # the template on the cube of the mean brain, at its resolution
    centre = apply_affine(template.affine, np.argwhere(mask)).mean(axis=0)
    grid = grid_around(centre, len(mean_brain), len(mean_brain) * pixel_mm)
    smooth = low_passed(template.get_fdata().astype(np.float32), lowpass_sigmas((1.0,) * 3, pixel_mm))
    image, inside = (resampled(of, template.affine, grid) for of in (smooth, mask.astype(np.float32)))
    aligned, fits = align(image, inside > 0.5, mean_brain, pixel_mm)
    assert fits
    there, brain = (
        resampled(mask.astype(np.float32), template.affine, moved_grid(grid, aligned)) > 0.5,
        mean_brain > BRAIN_OFFSET,
    )
    shift = np.eye(4)
    shift[:3, 3] = centre
    return shift @ aligned, 2 * np.count_nonzero(there & brain) / (np.count_nonzero(there) + np.count_nonzero(brain))


def main() -> None:
    """Print the affine; print and write the page."""
    options = parser_of(__doc__, output=True).parse_args()
    way, dice = atlas2mni_mm()
    print(way.round(5).tolist(), "stored:", np.abs(way - np.array(ATLAS2MNI_MM)).max(), "apart")
    pixel2mni = way @ cube_affine(len(atlas().labels), atlas().pixel_mm)
    rows, off = [], []
    for index, region in regions().items():
        if region.name in KNOWN_MM:
            known = KNOWN_MM[region.name][region.side == "right"]
            found = apply_affine(pixel2mni, np.argwhere(atlas().labels == index)).mean(axis=0)
            off.append(np.linalg.norm(found - known))
            rows.append([region.words, known, tuple(found.round().astype(int).tolist()), f"{off[-1]:.1f}"])
    zooms = ", ".join(f"{zoom:.2f}" for zoom in np.linalg.norm(way[:3, :3], axis=0))
    finish(
        f"# Template space\n\n{made_by('benchmarks.measured.template_space', seed=False)[:-1]}, nilearn {__version__}.\n\n"
        f"{reading(__doc__)}\n"
        f"The models are aligned to mean brains of their own, which are no standard space.\n"
        f"To {MNI} they are zoomed by {zooms} along x, y and z, and turned by {np.degrees(np.arctan2(way[2, 1], way[1, 1])):.0f} degrees about x.\n"
        f"Dice of the outlines after alignment: {dice:.3f}.\n"
        f"The structures are {np.mean(off):.1f} mm off on average, {np.max(off):.1f} mm at most.\n\n"
        + table(["structure", "known, mm", "found, mm", "off, mm"], rows),
        options.output,
    )


if __name__ == "__main__":
    main()
