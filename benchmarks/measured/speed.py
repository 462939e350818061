"""Speed: every comparison side by side in one process, as ratios with their spread.

python -m benchmarks.measured.speed -o docs/measured/speed.md
python -m benchmarks.measured.speed --only scoring training

CPU time of one thread. The things compared take turns, so that whatever else the machine does falls on all of
them; a ratio is the median over the rounds, with the smallest and largest. Seed 0.
"""

from __future__ import annotations

import argparse
import os
import platform
import pstats
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from importlib.metadata import version
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import nibabel as nib
import numpy as np

from benchmarks.command import parser_of

MODEL = "t1"
SAMPLES, SAMPLE = Path(__file__).parents[2] / "sample_data", "IXI012"
UNET = Path(__file__).parents[2] / "vae_loc/preprocessing/deepbet/box.onnx"
SHAPE = (240, 240, 155)  # of the large scan, 1 mm: that of BraTS
SLICES = 64
Rows = list[tuple[str, ...]]
Parts = dict[str, Callable[[argparse.Namespace], Iterator[str]]]


def cpu_seconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, np.ndarray]:
    """Return CPU seconds of every round, after one round that does not count."""
    for work in works.values():
        work()
    found = [{name: cpu_seconds(work) for name, work in works.items()} for _ in range(rounds)]
    return {name: np.array([times[name] for times in found]) for name in works}


def compared(times: dict[str, np.ndarray], per: float, unit: str) -> Iterator[str]:
    """Yield a table; the first row is what the others are compared with."""
    base = next(iter(times.values()))
    yield f"| | {unit} | ratio (smallest, largest) |"
    yield "|---|---|---|"
    for name, seconds in times.items():
        ratios = base / seconds
        rate = per / np.median(seconds) if per else np.median(seconds)
        yield f"| {name} | {rate:.3g} | {np.median(ratios):.2f} ({ratios.min():.2f}, {ratios.max():.2f}) |"


def plain_vae(**size: int):
    """Return the network with every layer run as the convolution that it is written as."""
    from vae_loc.model.vae import LOG_SIGMA_RANGE, VAE

    class PlainVAE(VAE):
        def encode(self, x):
            mu, log_sigma = self.encoder(x).flatten(1).chunk(2, dim=1)
            return mu, log_sigma.clamp(*LOG_SIGMA_RANGE)

        def decode(self, z):
            return self.decoder(z[:, :, None, None])

    return PlainVAE(**size)


def shipped() -> tuple:
    """Return checkpoint, plain network of torch with its weights, and slices (B, 1, H, W)."""
    import torch

    from vae_loc.model.checkpoint import find_model, load_checkpoint

    torch.set_num_threads(1)
    checkpoint = load_checkpoint(find_model(MODEL))
    size = checkpoint.facts.network
    model = plain_vae(latents=size.latents, image_size=size.image_size)
    model.load_state_dict({name: torch.from_numpy(value.copy()) for name, value in checkpoint.weights.items()})
    x = np.random.default_rng(0).standard_normal((SLICES, 1, size.image_size, size.image_size)).astype(np.float32)
    return checkpoint, model, torch.from_numpy(x)


def four_passes(model, x) -> None:
    """Score as the authors' script does: a forward pass, and three more with all gradients, for KL, Rec and both."""
    import torch

    from vae_loc.model.vae import kl_divergence, squared_error

    model.requires_grad_(True)
    with torch.no_grad():
        squared_error(x, model.decode(model.encode(x)[0]), 1.0)
    for term in range(3):
        model.zero_grad()
        given = x.clone().requires_grad_()
        mu, log_sigma = model.encode(given)
        kl, rec = kl_divergence(mu, log_sigma).sum(), squared_error(given, model.decode(mu), 1.0).sum()
        (kl, rec, kl + rec)[term].backward()
        given.grad.abs()


def bf16_passes(model, x) -> None:
    import torch

    from vae_loc.model.vae import score_terms

    model.requires_grad_(False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score_terms(model, x, 1.0)


def plain_passes(model, x) -> None:
    from vae_loc.model.vae import score_terms

    model.requires_grad_(False)
    score_terms(model, x, 1.0)


def scoring(options: argparse.Namespace) -> Iterator[str]:
    """All five maps, and Combi alone, against the authors' four passes; share of the matrix-product limit."""
    import torch

    from vae_loc.model.graph import load_graph
    from vae_loc.model.vae import VAE

    checkpoint, model, x = shipped()
    ours = VAE(latents=checkpoint.facts.network.latents)
    ours.load_state_dict(model.state_dict())
    run = {name: load_graph(name, checkpoint.facts.network, checkpoint.weights) for name in ("kl", "all")}
    pixels = x.numpy()
    times = in_turns(
        {
            "the authors' way: four passes": lambda: four_passes(model, x),
            "torch: one forward, two input backward": lambda: plain_passes(ours, x),
            "torch, bf16 (not offered)": lambda: bf16_passes(ours, x),
            "vae-loc, five maps": lambda: run["all"](pixels, 1.0),
            "vae-loc, Combi alone": lambda: run["kl"](pixels, 1.0),
        },
        options.rounds,
    )
    yield from compared(times, SLICES, "slices per second")
    side = torch.randn(1024, 1024)
    product = in_turns({"fp32": lambda: side @ side}, options.rounds)["fp32"]
    limit = 2 * 1024**3 / product.min() / 1e9
    yield ""
    for name, work in (("vae-loc, five maps", flops(rec=True)), ("vae-loc, Combi alone", flops(rec=False))):
        reached = work * SLICES / np.median(times[name]) / 1e9
        yield (
            f"{name}: {work / 1e6:.0f} MFLOP per slice, {reached:.0f} GFLOP/s, {reached / limit:.0%} of the "
            f"{limit:.0f} GFLOP/s that a product of 1024x1024 matrices reaches.  "
        )


def flops(*, rec: bool) -> float:
    """Return multiplications and additions of a slice: passes of encoder and decoder, convolutions alone."""
    from vae_loc.model.graph import CHANNELS

    sides = [32, 16, 8, 4]
    strided = [
        2 * 16 * a * b * side**2
        for (a, b), side in zip(zip((1, *CHANNELS[:3]), CHANNELS, strict=True), sides, strict=True)
    ]
    encoder, decoder = sum(strided) + 2 * 16 * 256 * 512, sum(strided) + 2 * 16 * 256 * 256
    return encoder * (3 if rec else 2) + decoder * (2 if rec else 1)


def one_by_one(slices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Augment a batch slice by slice, as a data set of PyTorch usually does: turn, scale, shift, mirror, gain, noise."""
    from scipy.ndimage import affine_transform

    made = []
    for image in slices:
        angle, zoom, shift = rng.uniform(-0.17, 0.17), rng.uniform(0.9, 1.1), rng.uniform(-2, 2, 2)
        turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        centre = (np.array(image.shape) - 1) / 2
        turned = affine_transform(image, turn, centre - turn @ centre + shift, order=1, cval=-4.0)
        turned = turned[::-1] if rng.random() < 0.5 else turned
        made.append(turned * rng.uniform(0.9, 1.1) + rng.normal(0, 0.06, image.shape))
    return np.stack(made).astype(np.float32)[:, None]


def training(options: argparse.Namespace) -> Iterator[str]:
    """A training step against a plain loop: slices augmented one by one, the same network and optimizer."""
    import torch

    from vae_loc.model.vae import VAE, negative_elbo
    from vae_loc.training.augmentation import augment

    torch.set_num_threads(1)
    torch.manual_seed(0)
    slices = torch.randn(SLICES, 1, 64, 64)
    generator, rng = torch.Generator().manual_seed(0), np.random.default_rng(0)
    models = {"plain": plain_vae(), "ours": VAE()}
    optimizers = {
        name: torch.optim.Adam(model.parameters(), lr=1e-4, fused=name != "plain") for name, model in models.items()
    }

    def step(name: str, x: torch.Tensor) -> None:
        noise = torch.randn(SLICES, 256, generator=generator)
        kl, rec = negative_elbo(models[name], x, noise, c=1.0)
        optimizers[name].zero_grad(set_to_none=True)
        (kl + rec).mean().backward()
        optimizers[name].step()

    times = in_turns(
        {
            "plain loop": lambda: step("plain", torch.from_numpy(one_by_one(slices[:, 0].numpy(), rng))),
            "vae-loc (richer augmentation)": lambda: step("ours", augment(slices, generator)),
            "of which network and optimizer": lambda: step("ours", slices),
            "of which augmentation": lambda: augment(slices, generator),
        },
        options.rounds,
    )
    yield from compared(times, SLICES, "slices per second")


def large_scan(folder: Path) -> tuple[Path, Path]:
    """Write a sample scan and its mask on the grid of BraTS, int16, stripped."""
    from nibabel.processing import resample_from_to

    affine = np.eye(4)
    given = nib.Nifti1Image.load(SAMPLES / f"{SAMPLE}_t1.nii.gz")
    middle = given.affine @ [*(np.array(given.shape) - 1) / 2, 1]
    affine[:3, 3] = middle[:3] - (np.array(SHAPE) - 1) / 2
    scan, mask = folder / "large_t1.nii.gz", folder / "large_brainmask.nii.gz"
    inside = (
        resample_from_to(
            nib.Nifti1Image.load(SAMPLES / f"{SAMPLE}_brainmask.nii.gz"), (SHAPE, affine), order=0
        ).get_fdata()
        > 0
    )
    data = resample_from_to(given, (SHAPE, affine), order=1).get_fdata()
    nib.save(nib.Nifti1Image(np.where(inside, 4 * data, 0).astype(np.int16), affine), scan)
    nib.save(nib.Nifti1Image(inside.astype(np.uint8), affine), mask)
    return scan, mask


def files(options: argparse.Namespace) -> Iterator[str]:
    """Reading and writing .nii.gz."""
    import SimpleITK as sitk

    from vae_loc.scans.volume import read_volume, write_volume

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, _ = large_scan(folder)
        volume = read_volume(scan)
        image, sitk_image = nib.Nifti1Image.load(scan), sitk.Cast(sitk.ReadImage(str(scan)), sitk.sitkFloat32)
        reading = {
            "nibabel": lambda: nib.Nifti1Image.load(scan).get_fdata(dtype=np.float32),
            "SimpleITK": lambda: sitk.GetArrayFromImage(sitk.ReadImage(str(scan), sitk.sitkFloat32)),
            "vae-loc (every byte checked)": lambda: read_volume(scan),
        }
        yield from compared(in_turns(reading, options.rounds), 0, "seconds to read")
        yield ""
        writing = {
            "nibabel": lambda: nib.save(nib.Nifti1Image(volume.data, image.affine), folder / "n.nii.gz"),
            "SimpleITK": lambda: sitk.WriteImage(sitk_image, str(folder / "s.nii.gz"), True),
            "vae-loc": lambda: write_volume(folder / "v.nii.gz", volume.data, volume),
        }
        yield from compared(in_turns(writing, min(3, options.rounds)), 0, "seconds to write float32")
        sizes = ", ".join(
            f"{path.name[0]} {path.stat().st_size / 1e6:.1f} MB" for path in sorted(folder.glob("?.nii.gz"))
        )
        yield f"\nSizes: {sizes} (n nibabel, s SimpleITK, v vae-loc)."


def resampling(options: argparse.Namespace) -> Iterator[str]:
    """A map brought back onto a brain of 1 mm: the same values by scipy and by ITK."""
    from scipy.ndimage import affine_transform

    from vae_loc.preprocessing.resampling import interpolated

    values = np.random.default_rng(0).random((64, 64, 64), dtype=np.float32)
    turn, shape = np.eye(4), (140, 175, 140)
    turn[:3] = [[0.33, 0.02, -0.01, 8], [-0.02, 0.32, 0.03, 3], [0.01, -0.03, 0.33, 7]]
    works = {
        "scipy.ndimage.affine_transform": lambda: affine_transform(
            values, turn[:3, :3], turn[:3, 3], output_shape=shape, order=1, mode="grid-constant"
        ),
        "vae-loc (ITK)": lambda: interpolated(values, turn, shape),
    }
    yield from compared(in_turns(works, options.rounds), 0, "seconds")
    first, second = (work() for work in works.values())
    yield f"\nLargest difference: {np.abs(first - second).max():.1g}."


def naive(scan: Path, mask: Path, output: Path) -> None:
    """Score a scan as a script of an afternoon would: scipy zooms everything, the authors' four passes, nibabel."""
    import torch
    from scipy.ndimage import zoom

    _, model, _ = shipped()
    image = nib.Nifti1Image.load(scan)
    brain = nib.Nifti1Image.load(mask).get_fdata() > 0
    data = image.get_fdata()
    data = np.where(brain, (data - data[brain].mean()) / data[brain].std(), -4)
    factors = 64 / np.array(data.shape)
    small = torch.from_numpy(zoom(data, factors, order=1).astype(np.float32)).permute(2, 0, 1)[:, None]
    four_passes(model, small)
    heat = zoom(small[:, 0].permute(1, 2, 0).numpy(), np.array(data.shape) / 64, order=1)
    nib.save(nib.Nifti1Image((heat * brain).astype(np.float32), image.affine), output)


def floor(scan: Path, output: Path) -> None:
    """Do the least that a tool with a network does: read, the coarse layers of one small U-Net by onnxruntime, write."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    image = nib.Nifti1Image.load(scan)
    data = np.asarray(image.dataobj, dtype=np.float32)
    steps = [np.linspace(0, n - 1, 32).astype(int) for n in data.shape]
    small = data[np.ix_(*steps)] / data.max()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(UNET, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.repeat(small[None, None], 16, axis=1)})
    back = [np.linspace(0, m - 1, n).astype(int) for n, m in zip(data.shape, found.shape[2:], strict=True)]
    nib.save(nib.Nifti1Image(found[0, 0][np.ix_(*back)].astype(np.float32), image.affine), output)


# an installed package has its bytecode beside it, so an environment that forbids to write it would mislead
AS_INSTALLED = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


WATCHED = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
"""  # of a small process: the system counts what a process held before it became the command


def child(*command: str | Path) -> tuple[float, float]:
    """Run a command; return its CPU seconds and its peak memory in MB."""
    watched = [sys.executable, "-c", WATCHED, *map(str, command)]
    seconds, peak_mb = subprocess.run(watched, check=True, capture_output=True, env=AS_INSTALLED).stdout.split()
    return float(seconds), float(peak_mb)


def whole(options: argparse.Namespace) -> Iterator[str]:
    """The command, cold, against a naive script; and a folder of scans."""
    python = sys.executable
    own = (python, "-m", "benchmarks.measured.speed")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, mask = large_scan(folder)
        commands = {
            "naive script": (*own, "--naive", scan, mask, folder / "naive.nii.gz"),
            "floor: the coarse layers of a U-Net": (*own, "--floor", scan, folder / "floor.nii.gz"),
            "vae-loc score": (python, "-m", "vae_loc", "score", scan, "-m", MODEL, "-o", folder / "out"),
            "vae-loc score --method all": (python, "-m", "vae_loc", "score", scan, "-m", MODEL, "-o", folder / "all",
                                           "--method", "all"),
            "vae-loc segment": (python, "-m", "vae_loc", "segment", scan, "-m", MODEL, "-o", folder / "segment"),
            "vae-loc --help": (python, "-m", "vae_loc", "--help"),
        }  # fmt: skip
        times: dict[str, list[float]] = {key: [] for key in commands}
        for turn in range(1 + min(options.rounds, 5)):
            for key, command in commands.items():
                seconds, _ = child(*command)
                times[key] += [seconds] if turn else []
        yield from compared({key: np.array(seconds) for key, seconds in times.items()}, 0, "CPU seconds, cold")
        yield "\nA folder of scans in one process (`--jobs 1`):\n"
        yield "| scans | CPU seconds | a scan beyond the first | peak memory, MB |"
        yield "|---|---|---|---|"
        first = None
        for count in sorted({1, max(2, options.scans // 4), options.scans}):
            scans = folder / f"scans{count}"
            scans.mkdir()
            for number in range(count):
                os.link(scan, scans / f"s{number:03}_t1.nii.gz")
                os.link(mask, scans / f"s{number:03}_brainmask.nii.gz")
            command = [python, "-m", "vae_loc", "score", scans, "-m", MODEL, "-o", folder / f"o{count}", "--jobs", "1"]
            used, peak_mb = child(*command)
            first = used if first is None else first
            more = f"{(used - first) / (count - 1):.2f}" if count > 1 else "-"
            yield f"| {count} | {used:.1f} | {more} | {peak_mb:.0f} |"


STAGES = ("load_checkpoint", "read_volume", "find_brain", "align", "to_canonical", "load_graph", "score_slices",
          "features_of", "all_from_canonical", "montage_png", "write_volume", "score_task")  # fmt: skip


def profile(options: argparse.Namespace) -> Iterator[str]:
    """Where the time of a cold `vae-loc score` goes."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scan, _ = large_scan(folder)
        arguments = ["-m", "vae_loc", "score", scan, "-m", MODEL, "-o", folder / "out", "-q"]
        command = [sys.executable, "-X", "importtime", *map(str, arguments)]
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=AS_INSTALLED).stderr
        packages: Counter[str] = Counter()
        for own, module in re.findall(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", told):
            packages[module.split(".")[0]] += int(own) / 1000
        yield f"Imports, {sum(packages.values()):.0f} ms (wall, `-X importtime`): " + ", ".join(
            f"{package} {spent:.0f}" for package, spent in packages.most_common(10)
        )
        out = folder / "profile"
        subprocess.run([sys.executable, "-m", "cProfile", "-o", str(out), *map(str, arguments)], check=True,
                       env=AS_INSTALLED)  # fmt: skip
        found = pstats.Stats(str(out)).stats  # type: ignore[attr-defined]
        times = {key[2]: value[3] for key, value in found.items() if "vae_loc" in key[0] and key[2] in STAGES}
        yield "\nFunctions, ms with what they call (wall, cProfile; `to_canonical` holds `align`): " + ", ".join(
            f"`{stage}` {1000 * times[stage]:.0f}" for stage in STAGES if stage in times
        )


def growth(options: argparse.Namespace) -> Iterator[str]:
    """Scoring by number of slices and of threads."""
    from vae_loc.model.network import ready
    from vae_loc.preprocessing.slices import SliceStack
    from vae_loc.scoring.slice_scores import score_slices
    from vae_loc.system.onnx_runtime import set_threads

    checkpoint, _, _ = shipped()
    yield "| slices | ms per slice, five maps | Combi alone |"
    yield "|---|---|---|"
    scored = ready(checkpoint)
    for count in (1, 8, 64, 512):
        pixels = np.random.default_rng(0).standard_normal((count, 64, 64)).astype(np.float32)
        stack = SliceStack(pixels, np.ones(pixels.shape, bool), np.arange(float(count)), np.arange(count))
        works = {method: partial(score_slices, scored, stack, [method]) for method in ("elbo-grad", "combi")}
        times = in_turns(works, options.rounds)
        yield f"| {count} | " + " | ".join(f"{1000 * np.median(t) / count:.2f}" for t in times.values()) + " |"
    yield "\n| threads | wall ms per batch of 64, five maps |"
    yield "|---|---|"
    for count in (1, 2):
        set_threads(count)
        run = ready(checkpoint).score_terms("all")
        pixels = np.zeros((64, 1, 64, 64), np.float32)
        run(pixels, 1.0)
        walls = []
        for _ in range(options.rounds):
            began = time.perf_counter()
            run(pixels, 1.0)
            walls.append(time.perf_counter() - began)
        yield f"| {count} | {1000 * np.median(walls):.0f} |"
    set_threads(1)


PARTS: Parts = {
    "scoring": scoring,
    "training": training,
    "files": files,
    "resampling": resampling,
    "whole": whole,
    "profile": profile,
    "growth": growth,
}


def machine() -> str:
    described = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in described if line.startswith("model name")), "?")
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "onnxruntime", "numpy", "scipy", "SimpleITK"))
    load = os.getloadavg()[0]
    return (
        f"{date.today()}, {cpu}, {os.cpu_count()} CPUs, load {load:.1f} when it began, "
        f"Python {platform.python_version()}, {packages}"
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("-o", "--output", type=Path, help="a Markdown page, whose tables are replaced")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scans", type=int, default=50)
    parser.add_argument("--naive", nargs=3, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--floor", nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.naive:
        return naive(*options.naive)
    if options.floor:
        return floor(*options.floor)
    arguments = f"--rounds {options.rounds} --scans {options.scans}"
    lines = [f"{machine()}. Made by `python -m benchmarks.measured.speed {arguments}`; seed 0."]
    for name in options.only:
        start = len(lines)
        lines += ["", f"### {PARTS[name].__doc__.splitlines()[0]}", ""]
        for line in PARTS[name](options):
            lines.append(line)
        print("\n".join(lines[start:]), flush=True)
    if options.output:
        head = options.output.read_text().split("<!-- tables -->")[0] if options.output.exists() else "# Speed\n\n"
        options.output.write_text(head + "<!-- tables -->\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
