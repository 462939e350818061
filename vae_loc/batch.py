"""Many scans -> their files on disk; one bad scan does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vae_loc.brain import BrainMask
from vae_loc.checkpoint import Checkpoint, Method
from vae_loc.cohort import Case
from vae_loc.errors import UnusableInput, printable
from vae_loc.locate import locate
from vae_loc.outputs import Segmentation, Target, write_results
from vae_loc.progress import BarMaker
from vae_loc.scoring import build_model
from vae_loc.volume import read_volume


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
    cases: Sequence[Case],
    checkpoint: Checkpoint,
    where: Target,
    *,
    methods: Sequence[Method],
    brain_mask: BrainMask | None = None,
    volume: int | None = None,
    device: str = "cpu",
    segmentation: Segmentation | None = None,
    bars: BarMaker,
    warn: Callable[[str], None],
) -> Batch:
    """Score scans, and segment them if asked to, and write each one's files when it is done.

    Parameters
    ----------
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    volume : which volume of 4D files, from 0
    bars, warn : where progress and warnings go

    Raises
    ------
    UnusableModel : if the model does not fit; an unusable scan is noted in the result instead.
    """
    network = build_model(checkpoint, device)
    batch = Batch()
    advance = bars("scoring", len(cases))
    for case in cases:
        try:
            scan = read_volume(case.scan, volume=volume)
            found = locate(
                scan, checkpoint, network, brain_mask=brain_mask or case.brain_mask or "auto", methods=methods
            )
            batch.written[case.scan] = write_results(scan, found, checkpoint, where, segmentation)
        except UnusableInput as error:
            batch.failed.append(error)
        else:
            for warning in found.warnings:
                warn(f"warning: {printable(case.scan)}: {warning}")
        advance(case.scan.name)
    return batch
