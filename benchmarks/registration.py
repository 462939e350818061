"""What coarser registrations cost and where they end, beside the one in use.

    python benchmarks/registration.py --shared ../shared/data

Three gliomas of three contrasts and two sample scans, one thread; distance of 27 points of the brain from where the
registration in use puts them.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import vae_loc.preprocessing.registration as register
from vae_loc.model.network import load_model
from vae_loc.preprocessing.canonical import to_canonical
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.cases import find_cases

SETTINGS = {
    "in use": {},
    "last steps of 0.05 mm": {"STEPS_MM": (1.0, 0.05)},
    "a tenth of the voxels": {"SAMPLED_SHARE": 0.1},
    "both": {"STEPS_MM": (1.0, 0.05), "SAMPLED_SHARE": 0.1},
    "half resolution last": {"SHRINK_FACTORS": (3, 2), "SIGMAS": (2, 1)},
}
SCANS = ("glioma_11_t1", "glioma_3_flair", "glioma_20_t2")
SAMPLES = ("IXI012_t1", "patient07_t1")
POINTS_MM = np.array(np.meshgrid([-50, 0, 50], [-60, 0, 60], [-40, 0, 40])).reshape(3, -1)


def main() -> None:
    """Print a row a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"))
    options = parser.parse_args()
    template = load_model("t1").places["template"]
    paths = [options.shared / "gliomas" / f"{name}.nii.gz" for name in SCANS]
    paths += [Path("sample_data") / f"{name}.nii.gz" for name in SAMPLES]
    cubes = []
    for case in find_cases(paths):
        scan = open_scan(case)
        cubes.append(to_canonical(scan.volume, scan.brain))
    print("| setting | CPU s, median (smallest, largest) | distance in mm, scan by scan |\n|---|---|---|")
    reference: list[np.ndarray] = []
    for title, constants in SETTINGS.items():
        before = {name: getattr(register, name) for name in constants}
        for name, value in constants.items():
            setattr(register, name, value)
        seconds, ends = [], []
        for cube in cubes:
            start = time.process_time()
            affine, _ = register.align(cube.data, cube.mask, template, cube.grid.pixel_mm)
            seconds.append(time.process_time() - start)
            ends.append(affine[:3, :3] @ POINTS_MM + affine[:3, 3:])
        for name, value in before.items():
            setattr(register, name, value)
        reference = reference or ends
        apart = [float(np.linalg.norm(a - b, axis=0).mean()) for a, b in zip(ends, reference, strict=True)]
        print(
            f"| {title} | {np.median(seconds):.2f} ({min(seconds):.2f}, {max(seconds):.2f}) "
            f"| {', '.join(f'{mm:.1f}' for mm in apart)} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
