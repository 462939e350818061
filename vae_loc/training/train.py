"""The way from a healthy cohort to a calibrated model on disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from vae_loc.errors import UnusableInput, UnusableOption, VaeLocError
from vae_loc.model.checkpoint import checkpoint, save_checkpoint
from vae_loc.model.facts import FORMAT_VERSION, Facts, NetworkSize, Training
from vae_loc.model.onnx_export import derived_graphs
from vae_loc.preprocessing.brain_mask import find_brain
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume, to_canonical
from vae_loc.preprocessing.pseudo_contrast import CONTRASTS, Appear, appearance_of
from vae_loc.preprocessing.registration import TEMPLATE_SUBJECTS, build_template
from vae_loc.preprocessing.slices import SliceStack, to_slices
from vae_loc.scans.cases import Case, split_subjects
from vae_loc.scans.volume import Volume, read_volume
from vae_loc.scoring.locate import PREPROCESSING
from vae_loc.system.progress import BarMaker
from vae_loc.system.versions import versions
from vae_loc.system.writing import check_place, refuse_inputs, together, write_json
from vae_loc.training.check_cohort import check_cohort
from vae_loc.training.distributed import ProcessGroup
from vae_loc.training.fit import ALONE, Precision, Schedule, join_slices, short_epochs, train_vae
from vae_loc.training.healthy_reference import calibrate_healthy
from vae_loc.training.resume_state import History
from vae_loc.vocabulary import BrainMask, FloatArray

COARSE_NOISE_SD = 3.0  # in the brain's standard deviations
PLATEAU_EPOCHS = 300  # at most
APPEARANCES = 2  # of every scan, where they can be made


@dataclass(frozen=True)
class Recipe:
    """The choices of a training.

    `epochs` None stands for the schedule's own number, `coarse_noise_sd` None for `COARSE_NOISE_SD` on real
    scans and none on synthesized ones, whose appearances vary enough (docs/detection.md).
    """

    contrast: str
    synthesize_from: str | None
    latents: int
    c: float
    image_size: int
    epochs: int | None
    batch_size: int
    seed: int
    holdout: float
    schedule: Schedule = "short"
    coarse_noise_sd: float | None = None
    precision: Precision = "fp32"


def train_cohort(
    cases: Sequence[Case],
    output: Path,
    recipe: Recipe,
    *,
    brain_mask: BrainMask | None = None,
    ranks: ProcessGroup = ALONE,
    resume: bool = False,
    skip_bad: bool = False,
    bars: BarMaker,
) -> list[Path]:
    """Train on four fifths of the subjects, calibrate on the rest, write model and record.

    Of processes that train together, `ranks`, the first alone reads the scans and writes.

    Returns
    -------
    The model, and `<model>.training.json` with history, seeds, versions and subject split.

    Raises
    ------
    UnusableInput : naming every scan that cannot be used, before the first epoch, unless `skip_bad`.
    TrainingDiverged : if the loss is not finite.
    """
    _check_options(output, recipe)
    state, record = (output.with_suffix(f".{kind}") for kind in ("state.safetensors", "training.json"))
    if ranks.rank:
        _trained(recipe, None, ranks, state, resume, bars)
        return []
    check_place(output)
    refuse_inputs([output, state, record], [path for case in cases for path in (case.scan, case.brain_mask) if path])
    prepare = partial(_tried, recipe, brain_mask)
    admitted = check_cohort(cases, prepare, skip_bad=skip_bad, advance=bars("checking", len(cases)))
    split = split_subjects(admitted.cases, holdout=recipe.holdout, seed=recipe.seed)
    template = _template(split[0], recipe, brain_mask, bars)
    stacks = _read_all(split, recipe, brain_mask, template, bars("reading", len(admitted.cases)))
    slices = [join_slices(part) for part in stacks]
    recipe, weights, history = _trained(recipe, slices, ranks, state, resume, bars)
    facts = _facts(recipe, split, len(slices[0]), len(history.epochs), brain_mask)
    model = calibrate_healthy(
        checkpoint(facts, weights, {"template": template}, derived_graphs(recipe.latents, recipe.image_size)),
        split[1],
        brain_mask=brain_mask,
        device=ranks.device,
        appear_of=partial(_appearance_of, recipe) if recipe.synthesize_from else lambda _: None,
        progress=bars("calibrating", 2 * len(split[1])),
    )
    with together():
        save_checkpoint(model, output)
        write_json(record, _record(recipe, split, history, facts, model.digest) | {"skipped": admitted.skipped})
    state.unlink(missing_ok=True)
    return [output, record]


def _trained(
    recipe: Recipe, slices: Sequence[FloatArray] | None, ranks: ProcessGroup, state: Path, resume: bool, bars: BarMaker
) -> tuple[Recipe, dict[str, FloatArray], History]:
    """Train on the slices (training, validation) of the first process; return the recipe as it was settled too."""
    training, validation = ranks.shared(slices, 2)
    recipe = _settled(recipe, len(training))
    weights, history = train_vae(
        training,
        validation,
        latents=recipe.latents,
        c=recipe.c,
        epochs=recipe.epochs or 1,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        schedule=recipe.schedule,
        coarse_noise_sd=recipe.coarse_noise_sd or 0.0,
        precision=recipe.precision,
        ranks=ranks,
        state=state,
        resume=resume,
        progress=_shown_losses(bars, recipe, len(training)),
    )
    return recipe, weights, history


def _settled(recipe: Recipe, slices: int) -> Recipe:
    """Return the recipe with what it left open."""
    epochs = short_epochs(slices, recipe.batch_size) if recipe.schedule == "short" else PLATEAU_EPOCHS
    noise_sd = 0.0 if recipe.synthesize_from else COARSE_NOISE_SD
    return replace(
        recipe,
        epochs=recipe.epochs or epochs,
        coarse_noise_sd=noise_sd if recipe.coarse_noise_sd is None else recipe.coarse_noise_sd,
    )


def _check_options(output: Path, recipe: Recipe) -> None:
    if output.suffix != ".safetensors":
        raise UnusableOption("-o", f"expected a name ending in .safetensors, got {output.name}")
    if recipe.image_size % 16 or not 16 <= recipe.image_size <= 512:
        raise UnusableOption("--image-size", f"expected a multiple of 16 up to 512, got {recipe.image_size}")
    if recipe.synthesize_from is not None and (recipe.synthesize_from != "t1" or recipe.contrast not in CONTRASTS):
        known = ", ".join(CONTRASTS)
        raise UnusableOption("--synthesize-from", f"expected t1, and --contrast one of {known}; got {recipe.contrast}")


def _facts(
    recipe: Recipe, split: Sequence[Sequence[Case]], slices: int, epochs: int, brain_mask: BrainMask | None
) -> Facts:
    training, held_out = (len({case.subject for case in cases}) for cases in split)
    return Facts(
        format_version=FORMAT_VERSION,
        contrast=recipe.contrast,
        network=NetworkSize(latents=recipe.latents, image_size=recipe.image_size, c=recipe.c),
        preprocessing=PREPROCESSING,
        training=Training(
            subjects=training,
            holdout_subjects=held_out,
            slices=slices,
            epochs=epochs,
            seed=recipe.seed,
            synthesized_from=recipe.synthesize_from,
            brain_mask="beside the scan, else auto" if brain_mask is None else str(brain_mask),
            versions=versions(),
        ),
    )


def _template(cases: Sequence[Case], recipe: Recipe, brain_mask: BrainMask | None, bars: BarMaker) -> FloatArray:
    """Return the mean brain of evenly chosen training scans, aligned to each other."""
    step = max(1, len(cases) // TEMPLATE_SUBJECTS)
    chosen = cases[::step][:TEMPLATE_SUBJECTS]
    advance = bars("template", len(chosen))
    brains = []
    for case in chosen:
        canonical = _canonical(case, recipe, brain_mask, None)
        brains.append((canonical.data, canonical.mask))
        advance(case.subject)
    return build_template(brains, FIELD_OF_VIEW_MM / recipe.image_size)


def _tried(recipe: Recipe, brain_mask: BrainMask | None, case: Case) -> Volume:
    """Prepare a case as training will, but for the template; return its scan."""
    volume = read_volume(case.scan)
    brain, _ = find_brain(volume, brain_mask or case.brain_mask or "auto")
    to_canonical(volume, brain, image_size=recipe.image_size, contrast=recipe.synthesize_from or recipe.contrast)
    return volume


def _canonical(
    case: Case, recipe: Recipe, brain_mask: BrainMask | None, template: FloatArray | None
) -> CanonicalVolume:
    volume = read_volume(case.scan)
    brain, _ = find_brain(volume, brain_mask or case.brain_mask or "auto")
    contrast = recipe.synthesize_from or recipe.contrast
    return to_canonical(volume, brain, image_size=recipe.image_size, contrast=contrast, template=template)


def _appearance_of(recipe: Recipe, case: Case, variant: int = 0) -> Appear:
    return appearance_of(case.subject, recipe.contrast, seed=recipe.seed, variant=variant)


def _read_all(
    split: Sequence[Sequence[Case]],
    recipe: Recipe,
    brain_mask: BrainMask | None,
    template: FloatArray,
    advance: Callable[[str], None],
) -> list[list[SliceStack]]:
    """Prepare every scan, in several appearances where they can be made; all bad ones are named at once."""
    faults: list[VaeLocError] = []
    stacks: list[list[SliceStack]] = [[] for _ in split]
    varied = APPEARANCES if recipe.synthesize_from or recipe.contrast == "t1" else 0
    for part, cases in enumerate(split):
        for case in cases:
            try:
                canonical = _canonical(case, recipe, brain_mask, template)
                looks = [_appearance_of(recipe, case, variant)(canonical) for variant in range(varied)]
                stacks[part] += [to_slices(look) for look in looks or [canonical]]
            except VaeLocError as error:
                faults.append(error)
            advance(case.subject)
    if faults:
        raise UnusableInput("cohort", f"{len(faults)} scans cannot be used: " + "; ".join(map(str, faults)))
    return stacks


def _shown_losses(bars: BarMaker, recipe: Recipe, slices: int) -> Callable[[int, int, int, float, float], None]:
    batches = -(-slices // recipe.batch_size)
    advance = bars("training", batches * (recipe.epochs or 1))

    def show(epoch: int, batch: int, total: int, kl: float, rec: float) -> None:
        advance(f"epoch {epoch + 1}/{recipe.epochs}  KL {kl:.1f}  Rec {rec:.1f}")

    return show


def _record(
    recipe: Recipe, split: Sequence[Sequence[Case]], history: History, facts: Facts, digest: str
) -> dict[str, object]:
    return {
        "recipe": asdict(recipe),
        "model_sha256": digest,
        "training_subjects": sorted({case.subject for case in split[0]}),
        "holdout_subjects": sorted({case.subject for case in split[1]}),
        "epochs": history.epochs,
        "best_valid_loss": history.best,
        "facts": facts.model_dump(exclude={"healthy"}),
    }
