"""Many scans -> their files on disk and the cohort table; one bad scan does not stop the others."""

from __future__ import annotations

import functools
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.vocabulary import BrainMask
from vae_loc.model.shipped import find_model, shipped_models
from vae_loc.model.checkpoint import Checkpoint, load_checkpoint
from vae_loc.vocabulary import Method
from vae_loc.scoring.choose_model import model_of
from vae_loc.scans.cases import Case, Sifted, contrast_of
from vae_loc.system.reading import sha256_of
from vae_loc.errors import OurBug, OutOfMemory, VaeLocError, WorkerDied, is_out_of_memory, printable
from vae_loc.system.writing import refuse_inputs
from vae_loc.results.cohort_table import Entry, Status, Summary, facts_of, failure, trusted_summary, write_table
from vae_loc.scoring.locate import locate
from vae_loc.scans.nifti import pair
from vae_loc.vocabulary import Polarity
from vae_loc.results.scan_outputs import write_results
from vae_loc.scoring.segmentation import Segmentation, ignored_fpr, odd
from vae_loc.results.output_names import OutputNames
from vae_loc.system.progress import BarMaker
from vae_loc.model.network import ScoreTerms, build_model, resolve_device
from vae_loc.system.threads import set_threads
from vae_loc.scans.volume import read_volume

Stamp = tuple[int, int]  # of a file: inode, time of change in ns


@dataclass(frozen=True)
class Wanted:
    """What to make of every scan.

    Attributes
    ----------
    model : a model's name or file; None chooses a shipped one by `contrast`, name or intensities
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    volume : which volume of 4D files, from 0
    threads : of the network, in each process
    raw : the paper's bare scores instead of those normalised by place and scan
    percentile : also the percentile among healthy voxels
    report : also a page for people
    """

    methods: Sequence[Method]
    model: str | None = None
    contrast: str | None = None
    brain_mask: BrainMask | None = None
    volume: int | None = None
    device: str = "cpu"
    threads: int = 1
    polarity: Polarity = "any"
    raw: bool = False
    percentile: bool = False
    report: bool = False
    segmentation: Segmentation | None = None

    def options(self) -> dict[str, object]:
        """Return what shapes the outputs of a scan besides scan and model, as its JSON states it."""
        named = asdict(self) | {"methods": list(self.methods), "brain_mask": str(self.brain_mask or "beside, or auto")}
        return {name: value for name, value in named.items() if name not in ("model", "device", "threads")}


@dataclass(frozen=True)
class Plan:
    """A run, as every process that has a part in it must know it; `token` tells it from other runs."""

    wanted: Wanted
    token: str = field(default_factory=lambda: secrets.token_hex(8))


@dataclass(frozen=True)
class Task:
    """A scan to score, unless outputs that may be trusted are there: any but those of the stamp `older`.

    A task that is begun again, because its process died, thereby finds what it had finished. It travels
    between processes, so `where` knows this scan alone.
    """

    case: Case
    where: OutputNames
    older: Stamp | None
    skip_existing: bool






def score_task(plan: Plan, task: Task) -> Entry:
    """Score one scan; whatever goes wrong is noted in the entry."""
    began = time.perf_counter()
    try:
        return _scored(plan, task, began)
    except VaeLocError as error:
        fault = error
    except Exception as error:  # of ours or a library's: it must not cost the other scans of a night
        fault = OutOfMemory() if is_out_of_memory(error) else OurBug(task.case.scan, error)
    return failure(task.case, fault, time.perf_counter() - began)


def _scored(plan: Plan, task: Task, began: float) -> Entry:
    case, wanted, where = task.case, plan.wanted, task.where
    given = [*pair(case.scan), wanted.brain_mask, case.brain_mask, wanted.model]
    refuse_inputs(where.all_paths(case.scan, wanted.methods), [Path(path) for path in given if path])
    scores = where.scores(case.scan)
    how = wanted.brain_mask or case.brain_mask or "auto"
    made = {"inputs": _inputs(case, how), "options": wanted.options()}
    if summary := _already(plan, task, made):
        status: Status = "skipped" if task.skip_existing else "done"
        return Entry(case, status, time.perf_counter() - began, scores, facts_of(summary))
    scan = read_volume(case.scan, volume=wanted.volume)
    notes: list[str] = []
    brain = functools.cache(functools.partial(find_brain, scan, how))
    name = wanted.model or model_of(case, scan, brain, contrast=wanted.contrast, say=notes.append)
    checkpoint = _checkpoint(plan.token, name)
    if wanted.segmentation and (note := ignored_fpr(wanted.segmentation, checkpoint)):
        notes.append(f"warning: {note}")
    network = _network(plan.token, name, wanted.device, wanted.threads)
    found = locate(scan, checkpoint, network, brain=brain(), methods=wanted.methods, polarity=wanted.polarity)
    if wanted.raw:
        found = found.as_raw()
    paths, summary = write_results(
        scan,
        found,
        checkpoint,
        where,
        wanted.segmentation,
        percentile=wanted.percentile,
        report=wanted.report,
        made=made,
    )
    warnings = (*found.warnings, *odd(found, checkpoint))
    notes += [f"warning: {printable(case.scan)}: {warning}" for warning in warnings]
    seconds = time.perf_counter() - began
    return Entry(case, "done", seconds, scores, facts_of(summary), tuple(paths), tuple(notes))


def _already(plan: Plan, task: Task, made: Summary) -> dict[str, object] | None:
    """Return the scores of outputs that may be trusted, or None."""
    scores = task.where.scores(task.case.scan)
    if _stamp(scores) in (None, task.older):
        return None
    wanted, case = plan.wanted, task.case
    contrast = case.contrast or wanted.contrast or contrast_of(case.scan)
    names = [wanted.model] if wanted.model else [name for name in shipped_models() if contrast in (None, name)]
    return trusted_summary(scores, made, {_checkpoint(plan.token, name).digest for name in names})


def _inputs(case: Case, how: BrainMask) -> dict[str, str | None]:
    """Return the SHA-256 of scan and brain mask."""
    mask = sha256_of(*dict.fromkeys(pair(how))) if isinstance(how, Path) else None
    return {"scan": sha256_of(*dict.fromkeys(pair(case.scan))), "brain_mask": mask}


def _stamp(path: Path) -> Stamp | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@functools.lru_cache(maxsize=4)
def _checkpoint(token: str, name: str) -> Checkpoint:
    """Return a model, read once a run and process; another run reads anew, for the file may be another by then."""
    return load_checkpoint(find_model(name))


@functools.lru_cache(maxsize=4)
def _network(token: str, name: str, device: str, threads: int) -> ScoreTerms:
    set_threads(threads)
    return build_model(_checkpoint(token, name), resolve_device(device))
