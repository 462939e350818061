"""A model and a site's own scans -> a new, calibrated model on disk.

Annotated subjects give thresholds: the best on a fifth of them, with its Dice on the other four (design [8]).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.evaluation.metrics import dice_at, rank_sorted
from vae_loc.evaluation.scan_metrics import ScoreStore
from vae_loc.model.checkpoint import Checkpoint, checkpoint, healthy_threshold, load_checkpoint, save_checkpoint
from vae_loc.model.facts import Labelled
from vae_loc.model.network import ready
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.scans.annotations import SUBJECT, LabelledCase, annotation_of, find_labelled
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scans.volume import read_labels
from vae_loc.scoring.findings import known_findings, strength_for, strength_interval
from vae_loc.scoring.locate import locate
from vae_loc.scoring.score_options import DEFAULT_FPR, ScoreOptions, default_rate
from vae_loc.system.array_store import ArrayStore
from vae_loc.system.progress import BarMaker
from vae_loc.system.writing import check_place, refuse_inputs
from vae_loc.training.healthy_reference import calibrate_cases, calibrate_unselected
from vae_loc.training.training_record import FEW_SUBJECTS, counted
from vae_loc.vocabulary import METHODS, BrainMask, Method

PARTS = 5  # of the annotated subjects: one to calibrate, four to report
FEW_UNSELECTED = 10  # ordinary subjects; fewer leave the median of a place to chance
MIN_DICE = 0.1  # of the masks on the reported scans; less, and the annotations are of something else
JUDGED: Method = "combi"  # the map that `segment` takes unless told otherwise

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CalibrationOptions:
    """The scans of a calibration, and how it is done.

    Attributes
    ----------
    labels : a path with `{subject}`, or a table of scans and labels; None without annotated scans
    healthy : healthy scans of the site
    unselected : ordinary scans of the site, of ill people too; what `labels` annotates in them is left out
    force : whether thresholds are stored by which the masks hardly meet the annotations
    """

    labels: str | None = None
    healthy: Sequence[Path] = ()
    unselected: Sequence[Path] = ()
    seed: int = 0
    brain_mask: BrainMask | None = None
    device: str = "cpu"
    force: bool = False


@dataclass(frozen=True)
class MapDice:
    """One map: the threshold of the calibration fifth, the Dice of each reported scan."""

    method: str
    threshold: float
    calibration_dice: float
    dice: dict[str, float | None]  # by scan; None where nothing is annotated

    @property
    def mean_and_sd(self) -> tuple[float | None, float | None]:
        """Mean and standard deviation of the Dice over the reported scans; None where there are too few."""
        known = [dice for dice in self.dice.values() if dice is not None]
        return (float(np.mean(known)) if known else None, float(np.std(known, ddof=1)) if len(known) > 1 else None)


def calibrate_file(
    model: Path, output: Path, scans: Sequence[Path], options: CalibrationOptions, *, bars: BarMaker
) -> list[MapDice]:
    """Write a copy of `model` with the usual quantiles of a site, and the thresholds of annotated `scans`.

    Thresholds from annotations are kept when only the quantiles are taken anew.

    Returns
    -------
    The Dice of the threshold of each map; empty without annotated scans.

    Raises
    ------
    UnusableOption : if there is nothing to calibrate on, or `output` is the model itself.
    UnusableInput : if a scan or annotation cannot be used, or the masks hardly meet the annotations.
    """
    _check(model, output, scans, options)
    calibrated, mask, device = load_checkpoint(model), options.brain_mask, options.device
    contrast = calibrated.facts.contrast
    labelled = scans or (options.labels and not options.unselected)
    pairs = find_labelled(scans, options.labels, contrast=contrast) if labelled else []
    rows: list[MapDice] = []
    before = calibrated
    if options.healthy:
        # take the healthy statistics anew, blended with the model's own
        cases = find_cases(options.healthy, contrast=contrast)
        _warn_of_few(cases, "healthy", FEW_SUBJECTS)
        progress = bars("healthy", len(cases))
        calibrated = calibrate_cases(calibrated, cases, brain_mask=mask, device=device, progress=progress)
    if options.unselected:
        # then what is usual in ordinary scans, whoever is ill among them
        ordinary = _with_annotations(find_cases(options.unselected, contrast=contrast), options.labels)
        _warn_of_few([case for case, _ in ordinary], "ordinary", FEW_UNSELECTED)
        progress = bars("ordinary", len(ordinary))
        calibrated = calibrate_unselected(calibrated, ordinary, brain_mask=mask, device=device, progress=progress)
    if calibrated is not before:
        _log.warning(f"before: {_thresholds(before)}")
        _log.warning(f"after: {_thresholds(calibrated)}")
    if pairs:
        # choose thresholds on annotated subjects; poor ones are not stored
        calibrated, rows = _calibrate_labelled(calibrated, pairs, options, bars("annotated", len(pairs)))
    save_checkpoint(calibrated, output)
    return rows


def _warn_of_few(cases: Sequence[Case], kind: str, needed: int) -> None:
    """Log that there are too few subjects to say what is usual at a site."""
    subjects = len({case.subject for case in cases})
    if subjects < needed:
        few = f"{counted(subjects, f'{kind} subject')} {'are' if subjects > 1 else 'is'} too few"
        _log.warning(f"warning: {few} to tell what is usual at your site; {needed} to {2 * needed + 10} are needed")


def _with_annotations(cases: Sequence[Case], labels: str | None) -> list[tuple[Case, Path | None]]:
    """Return ordinary scans, each with its annotation where the table or the pattern of `labels` has one."""
    if labels is None:
        return [(case, None) for case in cases]
    if SUBJECT not in labels:
        known = {pair.case.scan.resolve(): pair.label for pair in find_labelled([], labels)}
        return [(case, known.get(case.scan.resolve())) for case in cases]
    pairs = [(case, annotation_of(case, labels)) for case in cases]
    return [(case, path if path.is_file() else None) for case, path in pairs if case.scan != path]


def _thresholds(model: Checkpoint) -> str:
    """Return the strength of Combi's findings by default, and the value that 5 % of healthy voxels exceed."""
    if model.facts.healthy is None:
        return "no healthy statistics"
    share = f"5 % of healthy voxels above {healthy_threshold(model, 'combi', DEFAULT_FPR):.3g}"
    known = known_findings(model.facts, "combi")
    if known is None:
        return share
    rate = default_rate(known)
    low, high = strength_interval(known, rate)
    of = f"{strength_for(known, rate):.3g} (95 % interval over scans {low:.3g} to {high:.3g})"
    return f"findings from strength {of}, {share}"


def _check(model: Path, output: Path, scans: Sequence[Path], options: CalibrationOptions) -> None:
    if not scans and not options.healthy and not options.unselected and not options.labels:
        raise UnusableOption("calibrate", "expected annotated scans with --labels, --healthy or --unselected; got none")
    if output.suffix != ".safetensors":
        raise UnusableOption("-o", f"expected a name ending in .safetensors, got {output.name}")
    if output.exists() and output.samefile(model):
        raise UnusableOption("-o", "expected a new file, got the model itself; it is never changed")
    check_place(output)
    refuse_inputs([output], [*scans, *options.healthy, *options.unselected])


def _calibrate_labelled(
    before: Checkpoint, pairs: Sequence[LabelledCase], options: CalibrationOptions, progress: Callable[[str], None]
) -> tuple[Checkpoint, list[MapDice]]:
    """Return a copy of `before` with thresholds of maximal Dice, and their Dice on the other subjects."""
    chosen, *others = split_parts([pair.case.subject for pair in pairs], seed=options.seed)
    model = ready(before, options.device)
    with ArrayStore() as arrays:
        # score each annotated scan once
        store = ScoreStore(arrays)
        for pair in pairs:
            scan = open_scan(pair.case, brain_mask=options.brain_mask)
            lesion = read_labels(pair.label, scan.volume)[0][scan.brain]
            located = locate(scan, model, ScoreOptions(methods=METHODS, force=True))
            for method in METHODS:
                store.add(method, lesion, located.maps[method][scan.brain])
            progress(pair.case.scan.name)

        # choose a threshold for each map on one fifth; the other subjects report its Dice
        rows = [_map_dice(method, chosen, pairs, store) for method in METHODS]
    labelled = Labelled(
        thresholds={row.method: row.threshold for row in rows},
        dice={row.method: row.mean_and_sd for row in rows},
        calibration_subjects=len(chosen),
        reported_subjects=sum(map(len, others)),
        folds=1,
        seed=options.seed,
    )
    _judge(labelled, options)
    facts = before.facts.model_copy(update={"labelled": labelled})
    return checkpoint(facts, before.weights, before.reference, before.modes), rows


def _judge(labelled: Labelled, options: CalibrationOptions) -> None:
    """Log the reasons to doubt thresholds from annotations; refuse, without `force`, those that hardly meet them."""
    if labelled.calibration_subjects == 1:
        more = "from 10 annotated subjects on it is chosen on two"
        _log.warning(f"warning: each threshold was chosen on one subject; {more}")
    poor = [f"{name} {dice:.2f}" for name, (dice, _) in labelled.dice.items() if dice is not None and dice < MIN_DICE]
    if poor:
        listed = ", ".join(poor)
        _log.warning(f"warning: masks by these thresholds hardly meet the annotations; Dice on the others: {listed}")
    judged = labelled.dice[JUDGED][0]
    if judged is None:
        _log.warning("warning: no other subject has an annotated voxel, so that the thresholds could not be checked")
    elif judged < MIN_DICE and not options.force:
        raise UnusableInput(
            "calibration",
            f"expected a Dice of at least {MIN_DICE:g} on the other subjects, got {judged:.2f} ({JUDGED}); nothing was "
            "stored. Check that the annotations are of these scans, or use the model as it is; --force stores them",
        )


def split_parts(subjects: Sequence[str], *, seed: int) -> list[set[str]]:
    """Split subjects into five parts (fewer if they are fewer), each to calibrate on once.

    Raises
    ------
    UnusableInput : with fewer than two subjects.
    """
    names = sorted(set(subjects))
    if len(names) < 2:
        raise UnusableInput("cohort", f"expected annotated scans of at least 2 subjects, found {len(names)}; add some")
    order = np.random.default_rng(seed).permutation(len(names))
    return [{names[i] for i in part} for part in np.array_split(order, min(PARTS, len(names)))]


def _map_dice(method: Method, chosen: set[str], pairs: Sequence[LabelledCase], store: ScoreStore) -> MapDice:
    """Choose the threshold of a map on some subjects, and take its Dice on the others."""
    lesions, others = store.parts(method)
    inside = [index for index, pair in enumerate(pairs) if pair.case.subject in chosen]
    best = rank_sorted([lesions[index] for index in inside], [others[index] for index in inside])
    if best.best_threshold is None or best.best_dice is None:
        first = min(chosen)
        raise UnusableInput("cohort", f"expected annotated voxels in {first}, ..., found none; take another --seed")
    dice = {
        str(pair.case.scan): dice_at(lesion, other, best.best_threshold)
        for pair, lesion, other in zip(pairs, lesions, others, strict=True)
        if pair.case.subject not in chosen
    }
    return MapDice(method, best.best_threshold, best.best_dice, dice)
