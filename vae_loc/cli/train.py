"""The command that learns a model: train."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vae_loc.cli.console import complain, say, talking
from vae_loc.cli.numbers import finite
from vae_loc.cli.option_groups import with_groups
from vae_loc.cli.options import BrainMaskOption, Device, Quiet, Scans, Threads, parsed_brain_mask
from vae_loc.errors import printable

if TYPE_CHECKING:
    from vae_loc.training.train import TrainingOptions


@dataclass(frozen=True)
class LearningOptions:
    """What is learned, and how."""

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
            min=1,
            help="Default: 850 steps, synthesized 1700; under plateau at most 300.",
            show_default=False,
        ),
    ] = None
    schedule: Annotated[
        Literal["short", "plateau"],
        typer.Option("--schedule", help="short: 1e-3, down a cosine; plateau: the paper's, 1e-4 until no gain."),
    ] = "short"
    coarse_noise: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=10,
            metavar="SD",
            help="Blobs added to what the network sees. Default: 3; synthesized 0.",
            show_default=False,
        ),
    ] = None
    batch_size: Annotated[int, typer.Option(min=1, help="Slices per step; lower it if memory runs out.")] = 64
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the split, the weights and the augmentation.")] = 0
    precision: Annotated[
        Literal["fp32", "bf16"],
        typer.Option("--precision", help="Precision of the network's products while it learns; bf16 is faster."),
    ] = "fp32"
    holdout: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of the SUBJECTS held out.")] = 0.2

    def training_options(self) -> TrainingOptions:
        """Return the choices of a training."""
        from vae_loc.training.train import TrainingOptions

        for name in ("c", "coarse_noise", "holdout"):
            finite(name, getattr(self, name))
        return TrainingOptions(
            contrast=self.contrast,
            synthesize_from=self.synthesize_from,
            latents=self.latents,
            c=self.c,
            image_size=self.image_size,
            epochs=self.epochs,
            batch_size=self.batch_size,
            seed=self.seed,
            holdout=self.holdout,
            schedule=self.schedule,
            coarse_noise_sd=self.coarse_noise,
            precision=self.precision,
        )


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
    file name up to its last underscore. torchrun trains in several processes (docs/how-to/cluster.md).
    Example: vae-loc train healthy/ -o models/t1.safetensors
    """
    from vae_loc.model.network import prepared_device
    from vae_loc.scans.cases import find_cases
    from vae_loc.system.farewell import farewell
    from vae_loc.system.worker_processes import fair_threads
    from vae_loc.training.check_cohort import HealthyCohort
    from vae_loc.training.closing_words import interrupted_words
    from vae_loc.training.distributed import joined_processes, leave
    from vae_loc.training.resume_state import state_of
    from vae_loc.training.train import train_cohort

    options = learning.training_options()
    ready = prepared_device(device, fair_threads(threads))
    with (
        joined_processes(ready) as group,
        talking(quiet or group.rank > 0) as bars,
        farewell(lambda: "" if quiet or group.rank > 0 else interrupted_words(state_of(output))),
    ):
        healthy = HealthyCohort(
            find_cases(scans, contrast=options.real_contrast),
            find_cases(reference, contrast=options.real_contrast) if reference else [],
            brain_mask=parsed_brain_mask(brain_mask),
            skip_bad=skip_bad,
        )
        written = train_cohort(healthy, output, options, group=group, resume=resume, bars=bars)
    if written and not quiet:
        from vae_loc.training.closing_words import closing_words
        from vae_loc.training.training_record import read_record

        complain("\n".join(closing_words(read_record(written[1]), written[0])))
        say("\n".join(printable(path) for path in written))
    leave(group)
