"""Make `sample_data/` from the shared scans: copies, our own brain masks, one synthetic mass.

python -m benchmarks.tools.make_sample_data --shared ../shared/data -o sample_data
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from benchmarks.command import parser_of
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.scans.volume import Volume, read_volume, write_volume

HEALTHY = ("IXI012", "IXI013", "IXI014")
HOST = "IXI033"  # the healthy brain that gets the mass
MS, STROKE = "patient07", "crtut"
SEED = 0
RADIUS_MM = (14.0, 17.0, 13.0)  # semi-axes along RAS
OFFSET_MM = (28.0, -8.0, 28.0)  # of the mass from the brain's centroid: right hemisphere, above the ventricles
BORDER_NOISE = 0.18  # of the radius: an irregular border
RIM_MM = 2.0  # partial volume
DARKENING = 0.45  # of the intensity in the core: near CSF in T1
CHANGED = 0.02  # relative change from which a voxel is in the mask


def main() -> None:
    """Write every file of `sample_data/`."""
    parser = parser_of(__doc__, shared=True)
    parser.add_argument("-o", "--output", type=Path, default=Path("sample_data"))
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    for subject in HEALTHY:
        shutil.copyfile(options.shared / f"ixi/{subject}_t1.nii.gz", options.output / f"{subject}_t1.nii.gz")
        volume = read_volume(options.output / f"{subject}_t1.nii.gz")
        write_volume(options.output / f"{subject}_brainmask.nii.gz", find_brain(volume, "auto")[0], volume)
    for kind in ("t1", "t2", "flair", "lesions"):
        shutil.copyfile(options.shared / f"ms/{MS}_{kind}.nii.gz", options.output / f"{MS}_{kind}.nii.gz")
    for kind in ("t2", "lesions"):
        shutil.copyfile(options.shared / f"stroke/{STROKE}_{kind}.nii.gz", options.output / f"{STROKE}_{kind}.nii.gz")
    host = read_volume(options.shared / f"ixi/{HOST}_t1.nii.gz")
    brain = find_brain(host, "auto")[0]
    weight = mass(host, brain)
    write_volume(options.output / "synthetic-mass_t1.nii.gz", host.data * (1 - DARKENING * weight), host)
    write_volume(options.output / "synthetic-mass_lesions.nii.gz", DARKENING * weight > CHANGED, host)
    write_volume(options.output / "synthetic-mass_brainmask.nii.gz", brain, host)


def mass(host: Volume, brain: np.ndarray) -> np.ndarray:
    """Return how much of each voxel is mass, 0 to 1: a noise-warped ellipsoid with a soft rim."""
    indices = np.stack(np.meshgrid(*[np.arange(n) for n in host.data.shape], indexing="ij"), axis=-1)
    world = indices @ host.affine[:3, :3].T + host.affine[:3, 3]
    centre = world[brain].mean(axis=0) + OFFSET_MM
    noise = gaussian_filter(np.random.default_rng(SEED).standard_normal(brain.shape), 3)
    distance = np.linalg.norm((world - centre) / RADIUS_MM, axis=-1) + BORDER_NOISE * noise / noise.std()
    return brain / (1 + np.exp((distance - 1) * min(RADIUS_MM) / RIM_MM * 2))


if __name__ == "__main__":
    main()
