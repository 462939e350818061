"""The options that several commands share, in groups, and their parsing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from vae_loc.errors import UnusableOption

if TYPE_CHECKING:
    from vae_loc.scoring.score_options import RunOptions, Segmentation
    from vae_loc.vocabulary import Method

# written out, not imported from the library: a command that only shows its help imports no numpy
PolarityChoice = Literal["any", "bright", "dark"]


def completed_models(incomplete: str) -> list[str]:
    """Return the shipped models, the model files and the folders whose names begin so, for a shell's Tab key."""
    from vae_loc.model.checkpoint import shipped_models

    files = [path for path in glob(f"{incomplete}*") if path.endswith(".safetensors") or os.path.isdir(path)]
    return [*(name for name in shipped_models() if name.startswith(incomplete)), *files]


Scans = Annotated[
    list[Path],
    typer.Argument(
        metavar="SCAN...",
        help="NIfTI scans, folders of them, .txt lists of paths, .csv tables with the column scan (also mask, subject, "
        "contrast); for score and segment also DICOM folders and zips.",
    ),
]
ChosenModel = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        envvar="VAE_LOC_MODEL",
        metavar="NAME|FILE",
        autocompletion=completed_models,
        help="Model (t1, t2, flair) or .safetensors file. Default: that of the contrast.",
    ),
]
Output = Annotated[Path, typer.Option("-o", "--output", metavar="PATH", help="Folder, or .nii[.gz] file of one map.")]
BrainMaskOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|auto|none",
        help="Brain mask; auto finds the brain, none takes all. Default: <subject>_brainmask.nii.gz beside the scan, "
        "else auto.",
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Path of a scan's annotation, with {subject}, the scan's file name up to its last underscore; "
        "a bare name lies beside the scan. Or a .csv table with the columns scan and label. Or, of one scan, a file.",
    ),
]
HealthyOption = Annotated[
    list[Path] | None, typer.Option(metavar="SCAN", help="Healthy scans: a file, folder or list; may be repeated.")
]
Device = Annotated[str, typer.Option(metavar="auto|cpu|cuda[:N]|mps", help="Device of the network.")]
Threads = Annotated[int, typer.Option(min=1, metavar="N", help="CPU threads of the network.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors alone.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead.")]
PolarityOption = Annotated[PolarityChoice, typer.Option(metavar="any|bright|dark", help="Sign of what is kept.")]
Force = Annotated[bool, typer.Option("--force", help="Score what does not look like a brain MRI; do not trust it.")]
TemplateSpace = Annotated[
    bool, typer.Option("--template-space", help="Write scan, maps and masks in MNI152NLin2009aSym too.")
]
Report = Annotated[bool, typer.Option("--report", help="Write a page for each scan too.")]


@dataclass(frozen=True)
class ScanOptions:
    """The part of each scan that is scored, the model, the maps, and the files of a scan."""

    model: ChosenModel = None
    output: Output = Path(".")
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MAP",
            help="Map: combi, rec-error, kl-grad, rec-grad, elbo-grad, place-z, learned, or all (the first five); may "
            "be repeated. Default: combi.",
        ),
    ] = None
    contrast: Annotated[
        str | None, typer.Option(metavar="t1|t2|flair", help="Contrast of all scans. Default: of each its own.")
    ] = None
    polarity: PolarityOption = "any"
    raw: Annotated[bool, typer.Option("--raw", help="Write bare scores, not normalised.")] = False
    percentile: Annotated[bool, typer.Option("--percentile", help="Write percentiles of healthy voxels too.")] = False
    report: Report = False
    template_space: TemplateSpace = False
    brain_mask: BrainMaskOption = None
    volume: Annotated[int | None, typer.Option(min=0, metavar="N", help="Volume of a 4D file, from 0.")] = None
    series: Annotated[str | None, typer.Option(metavar="UID", help="Series of a DICOM folder with several.")] = None
    force: Force = False

    @property
    def methods(self) -> tuple[Method, ...]:
        """The maps that `--method` names."""
        from vae_loc.vocabulary import MAPS, METHODS

        named = {one for of in self.method or ["combi"] for one in (METHODS if of == "all" else [of])}
        ordered = sorted(named, key=lambda one: (*MAPS, one).index(one))  # unknown ones are refused with the others
        return cast("tuple[Method, ...]", tuple(ordered))


@dataclass(frozen=True)
class MaskOptions:
    """Which voxels of a map are marked."""

    false_findings: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            max=5,
            metavar="X",
            help="Findings that a healthy scan is expected to have, at most. Default: 0.1, or 1 / the real scans of "
            "the model if that is more.",
        ),
    ] = None
    threshold: Annotated[float | None, typer.Option(metavar="X", help="Mark all voxels above this instead.")] = None
    fpr: Annotated[
        str | None,
        typer.Option(
            metavar="SHARE", help="Mark all voxels above what this share of healthy voxels exceeds, such as 5%."
        ),
    ] = None
    no_persons: Annotated[
        bool, typer.Option("--no-persons", help="Write no joint result of the contrasts of a person and session.")
    ] = False
    min_size: Annotated[str, typer.Option(metavar="MM3", help="Smallest finding kept.")] = "100mm3"

    def segmentation(self) -> Segmentation:
        """Return the rule by which masks are made."""
        from vae_loc.scoring.score_options import Segmentation

        share, smallest_mm3 = parsed_share(self.fpr), parsed_cubic_mm(self.min_size)
        return Segmentation(self.threshold, share, self.false_findings, smallest_mm3)


@dataclass(frozen=True)
class MachineOptions:
    """Where scans are scored, and how many at a time."""

    device: Device = "cpu"
    threads: Threads = 1
    jobs: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Worker processes. Default: one per CPU, with 4 scans each at least."),
    ] = None
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="dask|slurm|FILE", help="Cluster: a local one, one of SLURM jobs, or a scheduler's address or file."
        ),
    ] = None
    shard: Annotated[
        str | None, typer.Option(metavar="I/N|slurm", help="The I-th of N parts of the scans, or that of a SLURM task.")
    ] = None
    skip_existing: Annotated[bool, typer.Option("--skip-existing", help="Keep outputs still whole and true.")] = False

    def run_options(self, *, persons: bool) -> RunOptions:
        """Return the options of a cohort's run; `persons` merges the contrasts of a person."""
        from vae_loc.scoring.score_options import RunOptions

        shard, kept = parsed_shard(self.shard), self.skip_existing
        return RunOptions(jobs=self.jobs, scheduler=self.scheduler, shard=shard, skip_existing=kept, persons=persons)


@dataclass(frozen=True)
class TalkOptions:
    """The output of a command on stdout and stderr."""

    quiet: Quiet = False
    as_json: AsJson = False
    log_json: Annotated[
        Path | None,
        typer.Option("--log-json", metavar="FILE|-", help="File for one line of JSON per event; - is stderr."),
    ] = None


def parsed_shard(option: str | None) -> tuple[int, int]:
    """Return the part that `--shard` names, counted from 1, and the number of parts; all is (1, 1).

    >>> parsed_shard("2/4"), parsed_shard(None)
    ((2, 4), (1, 1))
    """
    text = option or "1/1"
    if option == "slurm":
        # an array's task: --array=0-7, 1-8 and 0-14:2 are all eight parts
        try:
            task, count = (int(os.environ[f"SLURM_ARRAY_TASK_{name}"]) for name in ("ID", "COUNT"))
            first, step = (int(os.environ.get(f"SLURM_ARRAY_TASK_{name}", "1")) for name in ("MIN", "STEP"))
        except (KeyError, ValueError) as error:
            raise UnusableOption("--shard", f"slurm needs a SLURM array's environment, found no {error}") from error
        text = f"{(task - first) // step + 1}/{count}"
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UnusableOption("--shard", f"expected I/N with 1 <= I <= N, or slurm, got {text}")
    return int(match[1]), int(match[2])


def parsed_cubic_mm(text: str) -> float:
    """Return `--min-size` in mm^3.

    >>> parsed_cubic_mm("100mm3")
    100.0
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(mm3)?", text)
    if match is None:
        raise UnusableOption("--min-size", f"expected cubic millimetres such as 100mm3, got {text}")
    return float(match[1])


def parsed_share(text: str | None) -> float | None:
    """Return `--fpr` as a share of 1; a bare number of 1 or more is no share, and may be meant as percent.

    >>> parsed_share("0.05"), parsed_share("5%"), parsed_share(None)
    (0.05, 0.05, None)
    """
    from vae_loc.scoring.score_options import FPR_RANGE

    if text is None:
        return None
    match = re.fullmatch(r"(\d*\.?\d+(?:e-?\d+)?)\s*(%?)", text.strip(), re.IGNORECASE)
    share = float("nan") if match is None else float(match[1]) / (100 if match[2] else 1)
    if FPR_RANGE[0] <= share <= FPR_RANGE[1]:
        return share
    meant = f"; {text}% is {text} percent of healthy voxels" if 1 <= share <= 100 * FPR_RANGE[1] else ""
    expected = f"expected a share from {FPR_RANGE[0]:g} to {FPR_RANGE[1]:g}, or a percentage such as 5%"
    raise UnusableOption("--fpr", f"{expected}, got {text}{meant}")
