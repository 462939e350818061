"""deepbet against brainextractor (a port of FSL BET; `pip install brainextractor`) on IXI's masks.

    python -m benchmarks.measured.brain_extraction --data ../shared/data/ixi --n 20 -o docs/measured/brain-extraction.md

IXI's masks are automatic and intracranial-like, so the Dice says how near a tool is to them, not to the truth.

Then vae-loc's extraction, deepbet's own and the network of SynthStrip (`pip install deepbet nipreps-synthstrip`) each
strip one head in a process of its own. SynthStrip's weights are in no package, so that its network is not trained here:
its time and memory are measured, not its masks.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nibabel as nib
import numpy as np

from benchmarks.command import finish, parser_of
from benchmarks.measured.speed import SAMPLES, child, machine
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.scans.cases import find_cases
from vae_loc.scans.volume import Volume, read_mask, read_volume

OURS = "vae-loc (the networks of deepbet 1.0.2)"
HEAD = SAMPLES / "crtut_t2.nii.gz"  # 1 mm
OWN = """
import sys
from pathlib import Path
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.scans.volume import read_volume
find_brain(read_volume(Path(sys.argv[1])), "auto")
"""
DEEPBET = """
import sys
from deepbet import run_bet
run_bet([sys.argv[1]], mask_paths=[sys.argv[2]], no_gpu=True, skip_broken=False)
"""
UNTRAINED = """
import sys, torch
from nipreps.synthstrip.model import StripModel
torch.manual_seed(0)
torch.save({"model_state_dict": StripModel().state_dict()}, sys.argv[1])
"""


def costs(repeats: int) -> Iterator[str]:
    """Yield the table of one head, cold: the tools take turns."""
    with tempfile.TemporaryDirectory() as name:
        mask, weights = f"{name}/mask.nii.gz", f"{name}/untrained.pt"
        child(sys.executable, "-c", UNTRAINED, weights)
        commands = {
            "vae-loc": ("-c", OWN, HEAD),
            "deepbet 1.0.2": ("-c", DEEPBET, HEAD, mask),
            "SynthStrip's network, not trained": (
                "-m",
                "nipreps.synthstrip",
                "-i",
                HEAD,
                "-m",
                mask,
                "--model",
                weights,
            ),
        }
        found = [{tool: child(sys.executable, *of) for tool, of in commands.items()} for _ in range(repeats)]
    yield f"\n{HEAD.name}, 1 mm, cold, one thread; median and range of {repeats}. {machine()}\n"
    yield "| tool | CPU s | peak memory, MB |\n|---|---|---|"
    for tool in commands:
        seconds, peaks = np.array([of[tool] for of in found]).T
        yield f"| {tool} | {np.median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f}) | {np.median(peaks):.0f} |"


def bet(volume: Volume) -> np.ndarray:
    """Mask of brainextractor with its defaults."""
    from brainextractor import BrainExtractor

    extractor = BrainExtractor(img=nib.Nifti1Image(volume.data, volume.affine))
    extractor.run()
    return np.asarray(extractor.compute_mask()) > 0


def main() -> None:
    """Print and write the table."""
    parser = parser_of(__doc__, output=True)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/ixi"))
    parser.add_argument("--n", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3, help="heads that each tool strips in a process of its own")
    options = parser.parse_args()
    tools = {OURS: lambda v: find_brain(v, "auto")[0], "brainextractor": bet}
    cases = find_cases([options.data])[:: max(1, 155 // options.n)][: options.n]
    tools[OURS](read_volume(cases[0].scan))  # loading weights and compiling are not timed
    tools["brainextractor"](read_volume(cases[0].scan))
    results: dict[str, list[tuple[float, float, float]]] = {name: [] for name in tools}
    for case in cases:
        volume = read_volume(case.scan)
        reference = read_mask(case.brain_mask, volume)
        for name, tool in tools.items():
            start = time.process_time()
            mask = tool(volume)
            seconds = time.process_time() - start
            dice = 2 * (mask & reference).sum() / (mask.sum() + reference.sum())
            results[name].append((dice, mask.sum() / reference.sum(), seconds))
    lines = ["| tool | Dice mean | sd | min | volume ratio | CPU s per scan (median) |", "|---|---|---|---|---|---|"]
    for name, rows in results.items():
        dice, ratio, seconds = np.array(rows).T
        lines.append(
            f"| {name if name == OURS else f'{name} {version(name)}'} | {dice.mean():.3f} | {dice.std(ddof=1):.3f} | {dice.min():.3f} | {ratio.mean():.2f} | {np.median(seconds):.1f} |"
        )
    text = (
        f"# Brain extraction\n\n{len(cases)} IXI scans, one thread, {platform.machine()}. "
        f"Made by `python -m benchmarks.measured.brain_extraction --n {options.n}`.\n\n" + "\n".join(lines) + "\n\n"
        "The reference masks are automatic and intracranial-like; a Dice here is agreement with them.\n"
    )
    text += "\n".join(costs(options.repeats)) + "\n"
    finish(text, options.output)


if __name__ == "__main__":
    main()
