"""The command that learns a model: train."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vae_loc.cli.console import complain, say, talking
from vae_loc.cli.option_groups import with_groups
from vae_loc.cli.options import BrainMaskOption, Device, Quiet, Scans, Threads
from vae_loc.errors import printable, refuse_beyond

if TYPE_CHECKING:
    from vae_loc.training.training_options import TrainingOptions


@dataclass(frozen=True)
class LearningOptions:
    """The options of the network and its training."""

    contrast: Annotated[str, typer.Option(help="What the scans are: t1, t2, flair, ...")] = "t1"
    synthesize_from: Annotated[
        str | None,
        typer.Option(
            metavar="t1", help="The scans are T1; make them look like --contrast t2 or flair.", show_default=False
        ),
    ] = None
    latents: Annotated[int, typer.Option(min=1, max=4096, help="Size of z.")] = 256
    c: Annotated[float, typer.Option("--c", min=0.001, help="Standard deviation of p(x|z).")] = 1.0
    image_size: Annotated[int, typer.Option(help="Pixels of a slice's side: 32, 64 or 128.")] = 64
    epochs: Annotated[
        int | None,
        typer.Option(
            min=1, help="Default: 850 steps, synthesized 1700; under plateau at most 300.", show_default=False
        ),
    ] = None
    schedule: Annotated[
        Literal["short", "plateau"],
        typer.Option("--schedule", help="short: 1e-3, down a cosine; plateau: the paper's, 1e-4 until no gain."),
    ] = "short"
    coarse_noise_sd: Annotated[
        float | None,
        typer.Option(
            "--coarse-noise",
            min=0,
            max=10,
            metavar="SD",
            help="Noise of low frequency added to training slices, in SD of the brain. Default: 3; 0 for synthesized.",
            show_default=False,
        ),
    ] = None
    batch_size: Annotated[int, typer.Option(min=1, help="Slices per step; lower it if memory runs out.")] = 64
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the split, the weights and the augmentation.")] = 0
    holdout: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of the SUBJECTS held out.")] = 0.2

    def training_options(self) -> TrainingOptions:
        """Return the choices of a training."""
        from vae_loc.training.training_options import TrainingOptions

        for option, value in (("c", self.c), ("coarse-noise", self.coarse_noise_sd), ("holdout", self.holdout)):
            refuse_beyond(option, value)
        return TrainingOptions(**asdict(self))


@with_groups
def train(
    scans: Scans,
    output: Annotated[Path, typer.Option("-o", "--output", help="The model to write, MODEL.safetensors.")],
    learning: LearningOptions,
    reference: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="SCAN",
            help="Further healthy scans, such as another scanner's: the network does not learn from them, the healthy "
            "statistics and the findings do. A file, folder or list; may be repeated.",
            show_default=False,
        ),
    ] = None,
    brain_mask: BrainMaskOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from MODEL's .state file if there is one.")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Go on without the scans that cannot be used, and list them.")
    ] = False,
    device: Device = "auto",
    threads: Threads = 2,
    quiet: Quiet = False,
) -> None:
    """Train a model on healthy scans, and store the healthy distribution of its scores.

    A sibling <subject>_brainmask.nii.gz is used as brain mask where it exists; the subject is the
    file name up to its last underscore.
    Example: vae-loc train healthy/ -o models/t1.safetensors
    """
    from vae_loc.model.network import prepared_device
    from vae_loc.scans.cases import find_cases
    from vae_loc.scoring.score_options import brain_mask_of
    from vae_loc.system.farewell import farewell
    from vae_loc.system.worker_processes import usable_cpus
    from vae_loc.training.fit import state_of
    from vae_loc.training.train import HealthyCohort, train_cohort
    from vae_loc.training.training_record import interrupted, read_record, summary

    options = learning.training_options()
    ready = prepared_device(device, min(threads, usable_cpus()))
    with talking(quiet) as bars, farewell(lambda: "" if quiet else interrupted(state_of(output))):
        healthy = HealthyCohort(
            find_cases(scans, contrast=options.real_contrast),
            find_cases(reference, contrast=options.real_contrast) if reference else [],
            brain_mask=brain_mask_of(brain_mask),
            skip_bad=skip_bad,
        )
        written = train_cohort(healthy, output, options, device=ready, resume=resume, bars=bars)
    if not quiet:
        complain("\n".join(summary(read_record(written[1]), output)))
        say("\n".join(map(printable, written)))
