"""What the commands share: options, their parsing, and how they talk."""

from __future__ import annotations

import os
import re
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vae_loc.errors import UnusableOption

if TYPE_CHECKING:
    from vae_loc.vocabulary import BrainMask


class MethodChoice(str, Enum):
    """The five maps of the paper, or all of them."""

    combi = "combi"
    rec_error = "rec-error"
    kl_grad = "kl-grad"
    rec_grad = "rec-grad"
    elbo_grad = "elbo-grad"
    all = "all"


class PolarityChoice(str, Enum):
    """Which anomalies count."""

    any = "any"
    bright = "bright"
    dark = "dark"


class PrecisionChoice(str, Enum):
    """Of the network's products while it learns."""

    fp32 = "fp32"
    bf16 = "bf16"


class ScheduleChoice(str, Enum):
    """How the learning rate goes."""

    short = "short"
    plateau = "plateau"


Scans = Annotated[
    list[Path],
    typer.Argument(
        metavar="SCAN...",
        help="NIfTI scans, folders of them, .txt lists with one path a line, or .csv tables with the column scan "
        "and, if you like, mask, subject, contrast. For score and segment also DICOM: a series' folder or zip.",
    ),
]
Model = Annotated[
    str,
    typer.Option("-m", "--model", envvar="VAE_LOC_MODEL", help="A shipped model's name (t1) or a .safetensors file."),
]
ChosenModel = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        envvar="VAE_LOC_MODEL",
        help="A shipped model's name (t1, t2, flair) or a .safetensors file. Default: by --contrast, else by the "
        "file's name, else by the scan's intensities.",
        show_default=False,
    ),
]
ContrastOption = Annotated[
    str | None, typer.Option(help="What the scans are (t1, t2, flair), to choose the model.", show_default=False)
]
PolarityOption = Annotated[
    PolarityChoice, typer.Option("--polarity", help="Only what is brighter, or darker, than expected.")
]
Raw = Annotated[bool, typer.Option("--raw", help="The paper's bare scores, not normalised by place and scan.")]
ScheduleOption = Annotated[
    ScheduleChoice,
    typer.Option("--schedule", help="short: 1e-3, down a cosine; plateau: the paper's, 1e-4 until no gain."),
]
PrecisionOption = Annotated[
    PrecisionChoice, typer.Option("--precision", help="Of the network's products while it learns; bf16 is faster.")
]
CoarseNoise = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=10,
        metavar="SD",
        help="Blobs added to what the network sees. Default: 3; synthesized 0.",
        show_default=False,
    ),
]
Percentile = Annotated[bool, typer.Option("--percentile", help="Also write the percentile among healthy voxels.")]
Report = Annotated[
    bool, typer.Option("--report", help="Also write a page a scan: viewer, components, scores; for people to look at.")
]
Series = Annotated[
    str | None,
    typer.Option(metavar="UID", help="Which series of a DICOM folder or zip that holds several.", show_default=False),
]
DicomSeg = Annotated[
    bool, typer.Option("--dicom-seg", help="Also write the mask as a DICOM Segmentation of the series scored.")
]
Output = Annotated[
    Path, typer.Option("-o", "--output", help="Folder, or a .nii[.gz] file name for one scan and one method.")
]
MethodOption = Annotated[MethodChoice, typer.Option("--method", help="Which map; combi = KL-Grad x Rec-Error.")]
BrainMaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|auto|none",
        help="Default: the sibling <subject>_brainmask.nii.gz where it exists, else auto. "
        "auto: a skull-stripped scan is recognised, a whole head is extracted. none: the whole volume is brain.",
        show_default=False,
    ),
]
VolumeIndex = Annotated[int | None, typer.Option("--volume", min=0, help="Which volume of a 4D file, from 0.")]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Path of a scan's annotation, with {subject}, the scan's file name up to its last underscore; "
        "a bare name lies beside the scan. Or a .csv table with the columns scan and label.",
        show_default=False,
    ),
]
HealthyOption = Annotated[
    list[Path] | None,
    typer.Option(metavar="SCAN", help="Healthy scans: a file, folder or list; may be repeated.", show_default=False),
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]|mps", help="Where the network runs.")]
Threads = Annotated[int, typer.Option(min=1, help="CPU threads of the network.")]
Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Worker processes that score scans. Default: one a CPU, fewer for less than 4 scans each.",
        show_default=False,
    ),
]
SchedulerOption = Annotated[
    str | None,
    typer.Option(
        metavar="dask|slurm|ADDRESS|FILE",
        help="Score on a dask cluster: dask starts a local one, slurm one of dask-jobqueue; or a scheduler's "
        "address (tcp://host:8786) or its scheduler file.",
        show_default=False,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        metavar="I/N|slurm",
        help="Only the I-th of N parts of the scans; slurm takes both from a SLURM array's environment.",
        show_default=False,
    ),
]
SkipExisting = Annotated[
    bool,
    typer.Option(
        "--skip-existing", help="Leave alone what is whole and made from the same scan, model and options before."
    ),
]
LogJson = Annotated[
    Path | None,
    typer.Option(
        "--log-json", metavar="FILE|-", help="A line of JSON for every event; - is stderr.", show_default=False
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr, no paths on stdout.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout instead of paths.")]


def parsed_brain_mask(option: str | None) -> BrainMask | None:
    """Return what `--brain-mask` means."""
    if option is None or option in ("auto", "none"):
        return option  # type: ignore[return-value]
    return Path(option)


def parsed_shard(option: str | None) -> tuple[int, int]:
    """Return which part of how many `--shard` names, counted from 1; all is (1, 1).

    >>> parsed_shard("2/4"), parsed_shard(None)
    ((2, 4), (1, 1))
    """
    text = _slurm_shard() if option == "slurm" else option or "1/1"
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UnusableOption("--shard", f"expected I/N with 1 <= I <= N, or slurm, got {text}")
    return int(match[1]), int(match[2])


def _slurm_shard() -> str:
    """Return I/N of a SLURM array's task: --array=0-7, 1-8 and 0-14:2 are all eight parts."""
    try:
        task, count = (int(os.environ[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "COUNT"))
        first, step = (int(os.environ.get(f"SLURM_ARRAY_TASK_{name}", "1")) for name in ("MIN", "STEP"))
    except (KeyError, ValueError) as error:
        raise UnusableOption("--shard", f"slurm needs a SLURM array's environment, found no {error}") from error
    return f"{(task - first) // step + 1}/{count}"


def parsed_cubic_mm(text: str) -> float:
    """Return what `--min-size` means, in mm^3."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(mm3)?", text)
    if match is None:
        raise UnusableOption("--min-size", f"expected cubic millimetres such as 100mm3, got {text}")
    return float(match[1])
