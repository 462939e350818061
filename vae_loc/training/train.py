"""Healthy cohort -> a calibrated model on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from vae_loc.errors import UnusableOption
from vae_loc.model.checkpoint import checkpoint, save_checkpoint
from vae_loc.model.facts import FORMAT_VERSION, Facts, NetworkSize, Training
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume, canonical_brain
from vae_loc.preprocessing.prepared_scan import PreparedScan
from vae_loc.preprocessing.pseudo_contrast import MADE_CONTRASTS, Appear, appearance_of
from vae_loc.preprocessing.slices import to_slices
from vae_loc.preprocessing.template import TEMPLATE_SUBJECTS, build_template
from vae_loc.scans.cases import Case, split_subjects
from vae_loc.scoring.aligned_scan import PREPROCESSING
from vae_loc.system.array_store import ArrayStore
from vae_loc.system.progress import BarMaker
from vae_loc.system.versions import versions
from vae_loc.system.writing import check_place, refuse_inputs, together, write_json
from vae_loc.training.check_cohort import HealthyCohort, check_cohort
from vae_loc.training.distributed import ProcessGroup
from vae_loc.training.fit import (
    ALONE,
    SHORT_STEPS,
    SYNTHESIZED_STEPS,
    FitOptions,
    Precision,
    Schedule,
    join_slices,
    short_epochs,
    train_vae,
)
from vae_loc.training.healthy_reference import HealthyBrain, calibrate_healthy
from vae_loc.training.resume_state import History, state_of
from vae_loc.training.training_record import Recipe, TrainedFacts, TrainingRecord
from vae_loc.vocabulary import BrainMask, FloatArray

COARSE_NOISE_SD = 3.0  # in the brain's standard deviations
PLATEAU_EPOCHS = 300  # at most
APPEARANCES = 2  # of each scan, where they can be made


@dataclass(frozen=True)
class TrainingOptions:
    """The choices of a training.

    `epochs` None stands for the schedule's own number, `coarse_noise_sd` None for `COARSE_NOISE_SD` on real
    scans and none on synthesized ones, whose appearances vary enough.
    """

    contrast: str = "t1"
    synthesize_from: str | None = None
    latents: int = 256
    c: float = 1.0
    image_size: int = 64
    epochs: int | None = None
    batch_size: int = 64
    seed: int = 0
    holdout: float = 0.2
    schedule: Schedule = "short"
    coarse_noise_sd: float | None = None
    precision: Precision = "fp32"

    @property
    def real_contrast(self) -> str:
        """The contrast of the scans themselves."""
        return self.synthesize_from or self.contrast


def train_cohort(
    healthy: HealthyCohort,
    output: Path,
    options: TrainingOptions,
    *,
    group: ProcessGroup = ALONE,
    resume: bool = False,
    bars: BarMaker,
) -> list[Path]:
    """Train on four fifths of the subjects, take healthy statistics of all; write model and record.

    Of processes that train together, `group`, the first alone reads the scans and writes. Each scan is read once;
    what is needed again lies in a temporary file, about 30 MB for a brain of 1 mm.

    Returns
    -------
    The model, and `<model>.training.json` with history, seeds, versions and subject split.

    Raises
    ------
    UnusableInput : naming each scan that cannot be used, unless they are left out.
    TrainingDiverged : if the loss is not finite.
    """
    _check_options(output, options)
    state, record = state_of(output), output.with_suffix(".training.json")
    if group.rank:
        _fitted(options, None, group, state, resume, bars)
        return []
    check_place(output)
    inputs = [path for case in healthy.all_cases for path in (case.scan, case.brain_mask) if path]
    refuse_inputs([output, state, record], inputs)
    with ArrayStore() as store:
        cohort = check_cohort(
            healthy.all_cases,
            brain_mask=healthy.brain_mask,
            image_size=options.image_size,
            skip_bad=healthy.skip_bad,
            store=store,
            advance=bars("reading", len(healthy.all_cases)),
        )
        split = _split(cohort.cases, healthy.reference, options)
        template = _template([cohort.scans[case.scan] for case in split[0]], options, bars)
        brains = [[_aligned(case, cohort.scans[case.scan], template, options) for case in part] for part in split]
        slices = [_slices(part, options) for part in brains[:2]]
        fit, weights, history = _fitted(options, slices, group, state, resume, bars)
        facts = _facts(options, split, len(slices[0]), len(history.epochs), healthy.brain_mask)
        model = calibrate_healthy(
            checkpoint(facts, weights, {"template": template}),
            _judging(brains),
            device=group.device,
            store=store,
            progress=bars("calibrating", sum(map(len, brains))),
        )
    content = _record(options, fit, split, history, facts, model.digest, cohort.skipped)
    with together():
        save_checkpoint(model, output)
        write_json(record, content.model_dump(mode="json"))
    state.unlink(missing_ok=True)
    return [output, record]


def _split(cases: Sequence[Case], reference: Sequence[Case], options: TrainingOptions) -> list[list[Case]]:
    """Return the cases that the network learns from, those held out, and the reference."""
    further = {case.scan for case in reference}
    learned, held_out = split_subjects(
        [case for case in cases if case.scan not in further], holdout=options.holdout, seed=options.seed
    )
    return [learned, held_out, [case for case in cases if case.scan in further]]


def _judging(brains: Sequence[Sequence[HealthyBrain]]) -> list[HealthyBrain]:
    """Return the brains of learning, holdout and reference, and which of them the network has learned from."""
    learned = {brain.case.subject for brain in brains[0]}
    return [replace(brain, learned=brain.case.subject in learned) for part in brains for brain in part]


def _fitted(
    options: TrainingOptions,
    slices: Sequence[FloatArray] | None,
    group: ProcessGroup,
    state: Path,
    resume: bool,
    bars: BarMaker,
) -> tuple[FitOptions, dict[str, FloatArray], History]:
    """Train on the slices (training, validation) of the first process; return the settled options too."""
    training, validation = group.shared(slices, 2)
    fit = _settled(options, len(training))
    progress = _shown_losses(bars, fit, len(training))
    weights, history = train_vae(training, validation, fit, group=group, state=state, resume=resume, progress=progress)
    return fit, weights, history


def _settled(options: TrainingOptions, slices: int) -> FitOptions:
    """Return how the network learns, with what the options left open."""
    steps = SYNTHESIZED_STEPS if options.synthesize_from else SHORT_STEPS
    short = short_epochs(slices, options.batch_size, steps=steps)
    epochs = short if options.schedule == "short" else PLATEAU_EPOCHS
    noise_sd = 0.0 if options.synthesize_from else COARSE_NOISE_SD
    return FitOptions(
        latents=options.latents,
        c=options.c,
        epochs=options.epochs or epochs,
        batch_size=options.batch_size,
        seed=options.seed,
        schedule=options.schedule,
        coarse_noise_sd=noise_sd if options.coarse_noise_sd is None else options.coarse_noise_sd,
        precision=options.precision,
    )


def _check_options(output: Path, options: TrainingOptions) -> None:
    if output.suffix != ".safetensors":
        raise UnusableOption("-o", f"expected a name ending in .safetensors, got {output.name}")
    if options.image_size % 16 or not 16 <= options.image_size <= 512:
        raise UnusableOption("--image-size", f"expected a multiple of 16 up to 512, got {options.image_size}")
    if options.synthesize_from is not None and (
        options.synthesize_from != "t1" or options.contrast not in MADE_CONTRASTS
    ):
        known = ", ".join(MADE_CONTRASTS)
        raise UnusableOption("--synthesize-from", f"expected t1, and --contrast one of {known}; got {options.contrast}")


def _facts(
    options: TrainingOptions,
    split: Sequence[Sequence[Case]],
    slices: int,
    epochs: int,
    brain_mask: BrainMask | None,
) -> Facts:
    """Return the facts of the training for the model file."""
    training, held_out, reference = (len({case.subject for case in cases}) for cases in split)
    return Facts(
        format_version=FORMAT_VERSION,
        contrast=options.contrast,
        network=NetworkSize(latents=options.latents, image_size=options.image_size, c=options.c),
        preprocessing=PREPROCESSING,
        training=Training(
            subjects=training,
            holdout_subjects=held_out,
            reference_subjects=reference,
            slices=slices,
            epochs=epochs,
            seed=options.seed,
            synthesized_from=options.synthesize_from,
            brain_mask="beside the scan, else auto" if brain_mask is None else str(brain_mask),
            versions=versions(),
        ),
    )


def _template(scans: Sequence[PreparedScan], options: TrainingOptions, bars: BarMaker) -> FloatArray:
    """Return the mean brain of evenly chosen training scans, aligned to each other."""
    step = max(1, len(scans) // TEMPLATE_SUBJECTS)
    chosen = scans[::step][:TEMPLATE_SUBJECTS]
    advance = bars("template", len(chosen))
    brains = []
    for scan in chosen:
        canonical = canonical_brain(scan.smooth, image_size=options.image_size, contrast=options.real_contrast)
        brains.append((canonical.data, canonical.mask))
        advance(scan.path.name)
    return build_template(brains, FIELD_OF_VIEW_MM / options.image_size)


def _aligned(case: Case, scan: PreparedScan, template: FloatArray, options: TrainingOptions) -> HealthyBrain:
    """Return a brain aligned to the template, and the look that it is calibrated in."""
    canonical = canonical_brain(
        scan.smooth,
        image_size=options.image_size,
        contrast=options.real_contrast,
        template=template,
    )
    appear = _appearance(case.subject, options) if options.synthesize_from else None
    return HealthyBrain(case, scan, canonical, appear)


def _appearance(subject: str, options: TrainingOptions, variant: int = 0) -> Appear:
    return appearance_of(subject, options.contrast, seed=options.seed, variant=variant)


def _slices(brains: Sequence[HealthyBrain], options: TrainingOptions) -> FloatArray:
    """Return the slices (N, H, W) of brains, in several appearances where they can be made."""
    variants = APPEARANCES if options.synthesize_from or options.contrast == "t1" else 0
    stacks = []
    for brain in brains:
        looks: list[CanonicalVolume] = [
            _appearance(brain.case.subject, options, variant)(brain.canonical) for variant in range(variants)
        ]
        stacks += [to_slices(look) for look in looks or [brain.canonical]]
    return join_slices(stacks)


def _shown_losses(bars: BarMaker, fit: FitOptions, slices: int) -> Callable[[int, int, int, float, float], None]:
    batches = -(-slices // fit.batch_size)
    advance = bars("training", batches * fit.epochs)

    def show(epoch: int, batch: int, total: int, kl: float, rec: float) -> None:
        advance(f"epoch {epoch + 1}/{fit.epochs}  KL {kl:.1f}  Rec {rec:.1f}")

    return show


def _record(
    options: TrainingOptions,
    fit: FitOptions,
    split: Sequence[Sequence[Case]],
    history: History,
    facts: Facts,
    digest: str,
    skipped: list[str],
) -> TrainingRecord:
    settled = asdict(options) | {"epochs": fit.epochs, "coarse_noise_sd": fit.coarse_noise_sd}
    return TrainingRecord(
        recipe=Recipe(**settled),
        model_sha256=digest,
        training_subjects=sorted({case.subject for case in split[0]}),
        holdout_subjects=sorted({case.subject for case in split[1]}),
        reference_subjects=sorted({case.subject for case in split[2]}),
        epochs=history.epochs,
        best_valid_loss=history.best,
        facts=TrainedFacts(**facts.model_dump(exclude={"healthy", "labelled"})),
        skipped=skipped,
    )
