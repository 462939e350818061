"""Healthy cohort -> a calibrated model on disk. Each scan is read once; all unusable ones are named together."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vae_loc.errors import UnusableInput, UnusableOption, VaeLocError, printable
from vae_loc.model.checkpoint import Checkpoint, checkpoint, save_checkpoint
from vae_loc.model.facts import FORMAT_VERSION, Facts, NetworkSize, Training
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, to_canonical
from vae_loc.preprocessing.open_scan import PreparedScan, open_scan, prepare_scan
from vae_loc.preprocessing.pseudo_contrast import MADE_CONTRASTS, appearance_of
from vae_loc.preprocessing.registration import TEMPLATE_SUBJECTS, build_template
from vae_loc.preprocessing.slices import to_slices
from vae_loc.scans.cases import Case, person_of, split_subjects
from vae_loc.scoring.aligned_scan import PREPROCESSING
from vae_loc.system.array_store import ArrayStore
from vae_loc.system.progress import BarMaker
from vae_loc.system.versions import versions
from vae_loc.system.writing import check_place, refuse_inputs, together, write_json
from vae_loc.training.fit import History, join_slices, state_of, train_vae
from vae_loc.training.healthy_reference import calibrate_healthy
from vae_loc.training.healthy_scores import HealthyBrain
from vae_loc.training.training_options import TrainingOptions
from vae_loc.training.training_record import TrainedFacts, TrainingRecord
from vae_loc.vocabulary import BrainMask, FloatArray

_log = logging.getLogger(__name__)

APPEARANCES = 2  # of each scan, where they can be made
Subjects = list[list[str]]  # whom the network learns from, who is held out, and the further ones of the reference


@dataclass(frozen=True)
class HealthyCohort:
    """The healthy scans of a training.

    Attributes
    ----------
    cases : to learn from, and to hold out
    reference : further ones, of other scanners for example, for the healthy statistics alone
    brain_mask : for every scan; None takes the mask of each case, else `auto`
    skip_bad : whether scans that cannot be used are left out; else all are named, before the first epoch
    """

    cases: Sequence[Case]
    reference: Sequence[Case] = ()
    brain_mask: BrainMask | None = None
    skip_bad: bool = False

    @property
    def all_cases(self) -> list[Case]:
        """All of them."""
        return [*self.cases, *self.reference]


@dataclass(frozen=True)
class CheckedCohort:
    """The usable cases by person, further ones apart; their prepared scans; a line for each case that was left out."""

    cases: list[Case]
    reference: list[Case]
    scans: dict[Path, PreparedScan]
    skipped: list[str]


def train_cohort(
    healthy: HealthyCohort,
    output: Path,
    options: TrainingOptions,
    *,
    device: str = "cpu",
    resume: bool = False,
    bars: BarMaker,
) -> list[Path]:
    """Train on four fifths of the subjects, take healthy statistics of all; write model and record.

    Each scan is read once; its arrays lie in a temporary file, about 30 MB for a brain of 1 mm.

    Returns
    -------
    The model, and `<model>.training.json` with history, seeds, versions and subject split.

    Raises
    ------
    UnusableInput : naming each scan that cannot be used, unless they are left out.
    TrainingDiverged : if the loss is not finite.
    """
    state, record = state_of(output), output.with_suffix(".training.json")
    _check(healthy, [output, state, record], options)
    with ArrayStore() as store:
        # read and prepare each scan once; split the cohort by subject
        advance = bars("reading", len(healthy.all_cases))
        cohort = check_cohort(healthy, image_size=options.image_size, store=store, advance=advance)
        learned, held_out = split_subjects(cohort.cases, holdout=options.holdout, seed=options.seed)
        sides = (learned, held_out, cohort.reference)
        subjects = [sorted({case.subject for case in cases}) for cases in sides]

        # align all brains to the mean brain of those that the network learns from
        template = _template([cohort.scans[case.scan] for case in learned], options, bars)
        brains = [_aligned(cases, cohort.scans, template, options, learned=subjects[0]) for cases in sides]

        # train the network on slices; those held out choose its best epoch
        training, validation = (_slices(side, options) for side in brains[:2])
        epochs = options.epochs_of(len(training))
        options = replace(options, epochs=epochs, coarse_noise_sd=options.noise_sd)
        batch_done = bars("training", math.ceil(len(training) / options.batch_size) * epochs)

        def show(epoch: int, kl: float, rec: float) -> None:
            batch_done(f"epoch {epoch + 1}/{epochs}  KL {kl:.1f}  Rec {rec:.1f}")

        weights, history = train_vae(
            training, validation, options, device=device, state=state, resume=resume, progress=show
        )

        # take healthy statistics of all brains
        facts = _facts(options, subjects, len(training), len(history.epochs), healthy.brain_mask)
        everyone = [brain for side in brains for brain in side]
        bare, progress = checkpoint(facts, weights, {"template": template}), bars("calibrating", len(everyone))
        model = calibrate_healthy(bare, everyone, device=device, store=store, progress=progress)

    # model and record appear together; after that the state is of no use
    content = _record(options, subjects, history, model, cohort.skipped)
    with together():
        save_checkpoint(model, output)
        write_json(record, content.model_dump(mode="json"))
    state.unlink(missing_ok=True)
    return [output, record]


def _check(healthy: HealthyCohort, outputs: list[Path], options: TrainingOptions) -> None:
    """Refuse options that cannot be, and outputs that cannot be written or are inputs."""
    output, made = outputs[0], options.synthesize_from
    if output.suffix != ".safetensors":
        raise UnusableOption("-o", f"expected a name ending in .safetensors, got {output.name}")
    if options.image_size % 16 or not 16 <= options.image_size <= 512:
        raise UnusableOption("--image-size", f"expected a multiple of 16 up to 512, got {options.image_size}")
    if made is not None and (made != "t1" or options.contrast not in MADE_CONTRASTS):
        known = ", ".join(MADE_CONTRASTS)
        raise UnusableOption("--synthesize-from", f"expected t1, and --contrast one of {known}; got {options.contrast}")
    check_place(output)
    refuse_inputs(outputs, [path for case in healthy.all_cases for path in (case.scan, case.brain_mask) if path])


def check_cohort(
    healthy: HealthyCohort, *, image_size: int, store: ArrayStore, advance: Callable[[str], None]
) -> CheckedCohort:
    """Read and prepare all cases; scans of one person, and scans of the same voxels, get the same subject.

    Parameters
    ----------
    image_size : pixels of a slice's side, for which the scans are low-passed
    store : keeps the arrays of each scan

    Raises
    ------
    UnusableInput : naming each scan that cannot be used, unless `skip_bad`.
    """
    good: list[Case] = []
    scans: dict[Path, PreparedScan] = {}
    faults: list[str] = []
    alike: dict[str, list[Case]] = {}  # by content
    for case in healthy.all_cases:
        try:
            scan = open_scan(case, brain_mask=healthy.brain_mask)
            scans[case.scan] = prepare_scan(scan, image_size=image_size, store=store)
            person = replace(case, subject=person_of(case.subject))
            good.append(person)
            # the voxels, whatever the file's type, name or compression
            voxels = scan.volume.data
            content = hashlib.sha256(repr(voxels.shape).encode() + voxels.tobytes(order="F")).hexdigest()
            alike.setdefault(content, []).append(person)
        except VaeLocError as error:
            faults.append(str(error))
        advance(case.subject)
    if faults and not healthy.skip_bad:
        found = f"{len(faults)} of {len(healthy.all_cases)} scans cannot be used"
        raise UnusableInput("cohort", f"{found}; mend them or give --skip-bad: " + "; ".join(faults))
    for fault in faults:
        _log.warning("warning: left out: %s", fault)
    joined, further = _joined(good, list(alike.values())), {case.scan for case in healthy.reference}
    own = [case for case in joined if case.scan not in further]
    return CheckedCohort(own, [case for case in joined if case.scan in further], scans, faults)


def _joined(cases: Sequence[Case], alike: Sequence[Sequence[Case]]) -> list[Case]:
    """Return the cases with one subject for all that are linked by a shared scan."""
    subject_of = {case.subject: case.subject for case in cases}
    for same in alike:
        names = {subject_of[case.subject] for case in same}
        if len(same) > 1:
            listed = ", ".join(printable(case.scan) for case in same)
            _log.warning("warning: the same scan, counted as one subject: %s", listed)
        subject_of = {subject: min(names) if now in names else now for subject, now in subject_of.items()}
    return [replace(case, subject=subject_of[case.subject]) for case in cases]


def _template(scans: Sequence[PreparedScan], options: TrainingOptions, bars: BarMaker) -> FloatArray:
    """Return the mean brain of evenly chosen training scans, aligned to each other."""
    step = max(1, len(scans) // TEMPLATE_SUBJECTS)
    chosen = scans[::step][:TEMPLATE_SUBJECTS]
    advance = bars("template", len(chosen))
    brains = []
    for scan in chosen:
        canonical = to_canonical(scan.smooth, contrast=options.real_contrast)
        brains.append((canonical.data, canonical.mask))
        advance(scan.path.name)
    return build_template(brains, FIELD_OF_VIEW_MM / options.image_size)


def _aligned(
    cases: Sequence[Case],
    scans: Mapping[Path, PreparedScan],
    template: FloatArray,
    options: TrainingOptions,
    *,
    learned: Sequence[str],
) -> list[HealthyBrain]:
    """Return brains aligned to the template, and their looks; `learned` subjects may have scans in the reference."""
    brains = []
    for case in cases:
        scan, made = scans[case.scan], options.synthesize_from is not None
        canonical = to_canonical(scan.smooth, contrast=options.real_contrast, template=template)
        appear = appearance_of(case.subject, options.contrast, seed=options.seed) if made else None
        brains.append(HealthyBrain(case, scan, canonical, appear, learned=case.subject in learned))
    return brains


def _slices(brains: Sequence[HealthyBrain], options: TrainingOptions) -> FloatArray:
    """Return the slices (N, H, W) of brains, in several appearances where they can be made."""
    variants = range(APPEARANCES if options.synthesize_from or options.contrast == "t1" else 0)
    stacks = []
    for brain in brains:
        name = brain.case.subject
        looks = [appearance_of(name, options.contrast, seed=options.seed, variant=variant) for variant in variants]
        stacks += [to_slices(look(brain.canonical)) for look in looks] or [to_slices(brain.canonical)]
    return join_slices(stacks)


def _facts(
    options: TrainingOptions, subjects: Subjects, slices: int, epochs: int, brain_mask: BrainMask | None
) -> Facts:
    """Return the facts of the model file, as yet without healthy statistics."""
    learned, held_out, reference = subjects
    return Facts(
        format_version=FORMAT_VERSION,
        contrast=options.contrast,
        network=NetworkSize(latents=options.latents, image_size=options.image_size, c=options.c),
        preprocessing=PREPROCESSING,
        training=Training(
            subjects=len(learned),
            holdout_subjects=len(held_out),
            reference_subjects=len(reference),
            slices=slices,
            epochs=epochs,
            seed=options.seed,
            synthesized_from=options.synthesize_from,
            brain_mask="beside the scan, else auto" if brain_mask is None else str(brain_mask),
            versions=versions(),
        ),
    )


def _record(
    options: TrainingOptions, subjects: Subjects, history: History, model: Checkpoint, skipped: list[str]
) -> TrainingRecord:
    learned, held_out, reference = subjects
    return TrainingRecord(
        recipe=options,
        model_sha256=model.digest,
        training_subjects=learned,
        holdout_subjects=held_out,
        reference_subjects=reference,
        epochs=history.epochs,
        best_valid_loss=history.best,
        facts=TrainedFacts(**model.facts.model_dump(exclude={"healthy", "labelled"})),
        skipped=skipped,
    )
