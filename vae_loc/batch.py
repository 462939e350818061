"""Many scans -> their files on disk; one bad scan does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vae_loc.brain import BrainMask
from vae_loc.catalogue import find_model
from vae_loc.checkpoint import Checkpoint, Method, load_checkpoint
from vae_loc.choose import model_of
from vae_loc.cohort import Case
from vae_loc.errors import UnusableInput, printable
from vae_loc.files import refuse_inputs
from vae_loc.locate import locate
from vae_loc.nifti import pair
from vae_loc.normalise import Polarity
from vae_loc.outputs import Segmentation, Target, ignored_fpr, write_results
from vae_loc.progress import BarMaker
from vae_loc.scoring import build_model
from vae_loc.vae import VAE
from vae_loc.volume import read_volume


@dataclass(frozen=True)
class Wanted:
    """What to make of every scan.

    Attributes
    ----------
    model : a model's name or file; None chooses a shipped one by `contrast`, name or intensities
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    volume : which volume of 4D files, from 0
    raw : the paper's bare scores instead of those normalised by place and scan
    percentile : also the percentile among healthy voxels
    """

    methods: Sequence[Method]
    model: str | None = None
    contrast: str | None = None
    brain_mask: BrainMask | None = None
    volume: int | None = None
    device: str = "cpu"
    polarity: Polarity = "any"
    raw: bool = False
    percentile: bool = False
    segmentation: Segmentation | None = None


@dataclass
class Batch:
    """What became of every scan: the files written, and the faults."""

    written: dict[Path, list[Path]] = field(default_factory=dict)
    failed: list[UnusableInput] = field(default_factory=list)

    def as_json(self) -> dict[str, object]:
        """Return the batch as `--json` shows it."""
        return {
            "written": {str(scan): [str(path) for path in paths] for scan, paths in self.written.items()},
            "failed": [str(error) for error in self.failed],
        }


def locate_cases(
    cases: Sequence[Case], where: Target, wanted: Wanted, *, bars: BarMaker, warn: Callable[[str], None]
) -> Batch:
    """Score scans, and segment them if asked to, and write each one's files when it is done.

    Raises
    ------
    UnusableModel : if a model does not fit; an unusable scan is noted in the result instead.
    """
    models: dict[str, tuple[Checkpoint, VAE]] = {}
    if wanted.model is not None:
        _loaded(wanted.model, models, wanted, warn)
    batch = Batch()
    advance = bars("scoring", len(cases))
    for case in cases:
        try:
            batch.written[case.scan] = _locate_case(case, where, wanted, models, warn)
        except UnusableInput as error:
            batch.failed.append(error)
        advance(case.scan.name)
    return batch


def _locate_case(
    case: Case,
    where: Target,
    wanted: Wanted,
    models: dict[str, tuple[Checkpoint, VAE]],
    warn: Callable[[str], None],
) -> list[Path]:
    given = [*pair(case.scan), wanted.brain_mask, case.brain_mask, wanted.model]
    refuse_inputs(where.all_paths(case.scan, wanted.methods), [Path(path) for path in given if path])
    scan = read_volume(case.scan, volume=wanted.volume)
    name = wanted.model or model_of(
        case, contrast=wanted.contrast, volume=wanted.volume, brain_mask=wanted.brain_mask, say=warn
    )
    checkpoint, network = _loaded(name, models, wanted, warn)
    how = wanted.brain_mask or case.brain_mask or "auto"
    found = locate(scan, checkpoint, network, brain_mask=how, methods=wanted.methods, polarity=wanted.polarity)
    if wanted.raw:
        found = found.as_raw()
    paths = write_results(scan, found, checkpoint, where, wanted.segmentation, percentile=wanted.percentile)
    for warning in (*found.warnings, *_odd(found.scores.volume["elbo"], checkpoint)):
        warn(f"warning: {printable(case.scan)}: {warning}")
    return paths


def _loaded(
    name: str, models: dict[str, tuple[Checkpoint, VAE]], wanted: Wanted, warn: Callable[[str], None]
) -> tuple[Checkpoint, VAE]:
    if name not in models:
        checkpoint = load_checkpoint(find_model(name))
        models[name] = checkpoint, build_model(checkpoint, wanted.device)
        if wanted.segmentation and (note := ignored_fpr(wanted.segmentation, checkpoint)):
            warn(f"warning: {note}")
    return models[name]


def _odd(elbo: float, checkpoint: Checkpoint) -> tuple[str, ...]:
    """Return a warning for a scan that is unlike every healthy one as a whole."""
    healthy = checkpoint.facts.healthy
    if healthy is None or elbo <= healthy.volumes["elbo"][-1]:
        return ()
    return (
        f"less probable as a whole than every healthy {checkpoint.facts.contrast} scan of the model: much disease, "
        "another contrast than the model's, another scanner, or a bad brain mask",
    )
