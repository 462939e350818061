"""The worth of each part of the method: it is taken out alone, and the T1 model is judged anew.

    python -m benchmarks.measured.ablation --shared ../shared/data -o docs/measured/ablation.csv

Parts of the training: the network is trained anew without one, as `vae-loc train` does.
Parts of the scoring: the networks as kept stay, and one part is taken out of what follows them.
What was tried and is not kept has rows too: foreign patches, low frequencies replaced, an ensemble (beside seed 0).
The column "seeds" says with how many of the seeds 0, 1 and 2 a row was run; what has no row was not run anew.

Judged are the 67 healthy people that the network did not learn from, and lesions transplanted into them, as in
[findings](findings.md): by statistics of others, in five folds.
The patients are judged by statistics of all healthy people, on the canonical grid.
The difference to "as kept" is that of the same person and seed; its interval is that of a bootstrap over people.
One row for each run is appended at once: a killed run goes on where it was. Networks are kept in `--work`.
"""

from __future__ import annotations

import contextlib
import csv
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

from benchmarks import trial as trials
from benchmarks.command import parser_of
from benchmarks.transplants import KINDS, Glioma, gliomas_of
from benchmarks.trial import Diseased, Healthy, Sick, average_precision, healthy_people, transplanted, trial, widened
from vae_loc.evaluation.metrics import mean_interval
from vae_loc.model.checkpoint import checkpoint, load_checkpoint, save_checkpoint
from vae_loc.model.network import Model, load_model, ready
from vae_loc.preprocessing import smoothing
from vae_loc.preprocessing.canonical import BACKGROUND_SD, CanonicalVolume
from vae_loc.preprocessing.pseudo_contrast import appearance_of
from vae_loc.preprocessing.resampling import doubled_mask
from vae_loc.preprocessing.slices import to_slices
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.scoring import fine_scale, locate, normalised_maps
from vae_loc.scoring.findings import EXTENT_FPR
from vae_loc.scoring.locate import score_canonical
from vae_loc.scoring.normalised_maps import Features, Moments, mean_and_sd, z_by_place
from vae_loc.training import augmentation, cross_fit, fit
from vae_loc.training.cross_fit import Statistics
from vae_loc.training.fit import join_slices, train_vae
from vae_loc.training.train import APPEARANCES
from vae_loc.training.training_options import COARSE_NOISE_SD, SHORT_STEPS, TrainingOptions, short_epochs
from vae_loc.vocabulary import PLACE_Z, FloatArray, Method

SEEDS = (0, 1, 2)
KEPT = "as kept"
FIELDS = ("part", "seed", "kind", "found", "false", "dice", "ap")
CONTRAST: dict[str, object] = {"MAX_GAIN": 0.0, "MAX_OFFSET_SD": 0.0}
SHADING: dict[str, object] = {"MAX_BIAS": 0.0}
SHARPNESS: dict[str, object] = {"MAX_BLUR": 0.0, "MAX_NOISE_SD": 0.0}
TIGHTNESS: dict[str, object] = {"ERODED_SHARE": 0.0}
POSE: dict[str, object] = {"MAX_ROTATION_RAD": 0.0, "MAX_SCALE": 0.0, "MAX_SHIFT": 0.0}
UNCHANGED = normalised_maps.normalised_maps
Noise = Callable[[Tensor, float, torch.Generator], Tensor]


@dataclass(frozen=True)
class Training:
    """A training with one thing changed: constants of `augmentation`, coarse noise, appearances, steps."""

    constants: Mapping[str, object] = field(default_factory=dict)
    coarse_noise_sd: float = COARSE_NOISE_SD
    noise: Noise = augmentation.add_coarse_noise
    gammas: bool = True
    steps: int = SHORT_STEPS


@dataclass(frozen=True)
class Scoring:
    """A scoring with one thing changed.

    Attributes
    ----------
    patches : of the package while brains are scored, their statistics taken and maps made
    method : which map
    further : features that its patches need besides those of the map
    modes, scanners : of the healthy statistics
    ensemble : whether features are means over the networks of all seeds
    """

    patches: Sequence[Callable[[], contextlib.AbstractContextManager]] = ()
    method: Method = "combi"
    further: Sequence[str] = ()
    modes: bool = True
    scanners: str = "IXI, ds002748"
    ensemble: bool = False


def patched(module: object, **names: object) -> Callable[[], contextlib.AbstractContextManager]:
    """Return a maker of a context in which a module has other values."""
    return partial(mock.patch.multiple, module, **names)


def alike_everywhere(sums: Moments) -> tuple[FloatArray, FloatArray]:
    """Return mean and spread as `mean_and_sd` does, of all places together."""
    _, sd = mean_and_sd(sums)
    count, total, squares = (float(part.sum()) for part in sums)
    mean = total / count
    spread = np.sqrt(squares / count - mean**2)
    return np.where(sd > 0, np.float32(mean), 0), np.where(sd > 0, np.float32(spread), 0)


def without_low_frequencies(fwhm_mm: float) -> Callable[..., Features]:
    """Return `features_of` with the low frequencies of a reconstruction replaced by those of the brain (FDP)."""

    def features_of(fields: Mapping, canonical: CanonicalVolume, *, curve: bool) -> Features:
        low = smoothed(fields["residual"], canonical.mask, canonical.grid.pixel_mm, fwhm_mm)
        return normalised_maps.features_of({**fields, "residual": fields["residual"] - low}, canonical, curve=curve)

    return features_of


def with_place_z(*given: object, **named: object) -> dict[Method, FloatArray]:
    """Return the maps of `normalised_maps`: Combi is the mean of itself and place-z."""
    features, mask, reference, _, modes = given
    of = UNCHANGED(features, mask, reference, ("combi", PLACE_Z), modes, **named)
    return {"combi": (of["combi"] + of[PLACE_Z]) / 2}


def foreign_patches(x: Tensor, _sd: float, generator: torch.Generator) -> Tensor:
    """Return slices (B, 1, H, W) with an ellipse of another slice of the batch mixed in, by a random share.

    Foreign patch interpolation (Tan et al. 2020), the corruption that DISYRE (Naval Marimont et al. 2024) learns to undo.
    """
    count, size = len(x), x.shape[-1]

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(count, 1, 1, generator=generator)).to(x.device)

    steps = torch.linspace(-1, 1, size, device=x.device)
    rows, columns = steps[None, :, None] - uniform(-0.7, 0.7), steps[None, None, :] - uniform(-0.7, 0.7)
    inside = (rows / uniform(0.05, 0.4)) ** 2 + (columns / uniform(0.05, 0.4)) ** 2 < 1
    other = x[torch.randperm(count, generator=generator).to(x.device)]
    both = (x > BACKGROUND_SD) & (other > BACKGROUND_SD) & inside[:, None]
    share = uniform(0, 1)[:, None]
    return torch.where(both, (1 - share) * x + share * other, x)


def both_corruptions(x: Tensor, sd: float, generator: torch.Generator) -> Tensor:
    """Return slices with coarse noise and a foreign patch."""
    return foreign_patches(augmentation.add_coarse_noise(x, sd, generator), sd, generator)


TRAININGS = {
    KEPT: Training(),
    "no coarse noise": Training(coarse_noise_sd=0.0),
    "no random gammas": Training(gammas=False),
    "no gain, offset": Training(CONTRAST),
    "no shading": Training(SHADING),
    "no blur, noise": Training(SHARPNESS),
    "no mask tightness": Training(TIGHTNESS),
    "no pose": Training(POSE),
    "no augmentation at all": Training(CONTRAST | SHADING | SHARPNESS | TIGHTNESS | POSE, gammas=False),
    "twice the steps": Training(steps=2 * SHORT_STEPS),
    "tried: foreign patches for coarse noise": Training(noise=foreign_patches),
    "tried: foreign patches beside it": Training(noise=both_corruptions),
}
SCORINGS = {
    "no KL-Grad (Rec-Error)": Scoring(method="rec-error"),
    "no network (place-z)": Scoring(method=PLACE_Z),
    "no modes": Scoring(modes=False),
    "no second scanner in the statistics": Scoring(scanners="IXI"),
    "no statistics by place": Scoring([patched(cross_fit, mean_and_sd=alike_everywhere)]),
    "no scale of the scan's own": Scoring(
        [
            patched(normalised_maps, at_place=lambda *given: z_by_place(*given)[0]),
            patched(cross_fit, at_place=lambda *given: z_by_place(*given)[0]),
        ]
    ),
    "scan's own field left in": Scoring(
        [patched(normalised_maps, levelled=lambda values, mask, _=None: values * mask)]
    ),
    "smoothed by 4 mm alone": Scoring([patched(smoothing, WIDE_SHARE=0.0)]),
    "smoothed by 14 mm alone": Scoring([patched(smoothing, WIDE_SHARE=1.0)]),
    "no fine evidence": Scoring(
        [patched(fine_scale, DISEASE_LOOKS={"t1": replace(fine_scale.DISEASE_LOOKS["t1"], gain=0.0)})]
    ),
    "both signs alike": Scoring([patched(fine_scale, AWAY_SHARE=1.0)]),
    "tried: low frequencies replaced, 60 mm": Scoring([patched(locate, features_of=without_low_frequencies(60.0))]),
    "tried: low frequencies replaced, 30 mm": Scoring([patched(locate, features_of=without_low_frequencies(30.0))]),
    "tried: mean of Combi and place-z": Scoring(
        [patched(trials, normalised_maps=with_place_z), patched(normalised_maps, normalised_maps=with_place_z)],
        further=("intensity",),
    ),
    "tried: ensemble of three networks": Scoring(ensemble=True),
}


@dataclass(frozen=True)
class People:
    """All that is judged, aligned once."""

    shipped: Model
    healthy: Sequence[Healthy]
    sick: Sequence[Sick]
    patients: Sequence[Glioma]


def main() -> None:
    """Run what is missing, then write the page."""
    parser = parser_of(__doc__, shared=True)
    parser.add_argument("--work", type=Path, default=Path("build/ablation"), help="where trained networks are kept")
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; default: 0, 1 and 2")
    parser.add_argument("--only", action="append", choices=[*TRAININGS, *SCORINGS], help="this row; may be repeated")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/measured/ablation.csv"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.work.mkdir(parents=True, exist_ok=True)
    done = {(row["part"], int(row["seed"])) for row in rows_of(options.output)}
    wanted = [
        (part, seed)
        for seed in options.seed or SEEDS
        for part in options.only or [*TRAININGS, *SCORINGS]
        if (part, seed) not in done and not (seed and part in SCORINGS and SCORINGS[part].ensemble)
    ]
    people = people_of(options.shared) if wanted else None
    for part, seed in wanted:
        began = time.monotonic()
        append(options.output, list(judged(part, seed, people, options.work)))
        print(f"{part}, seed {seed}: {time.monotonic() - began:.0f} s", flush=True)
    options.output.with_suffix(".md").write_text(page(rows_of(options.output)))


def people_of(shared: Path) -> People:
    """Align all people to the shipped model's template."""
    path = Path("models/t1.safetensors")
    shipped = load_model(path)
    healthy = list(healthy_people(shipped, path, shared))
    sick = [replace(one, canonical=packed(one.canonical)) for one in transplanted(shipped, healthy, shared)]
    healthy = [replace(brain, canonical=packed(brain.canonical)) for brain in healthy]
    patients = [replace(one, canonical=packed(one.canonical)) for one in gliomas_of(shipped, shared)]
    return People(shipped, healthy, sick, patients)


def packed(canonical: CanonicalVolume) -> CanonicalVolume:
    """Return a brain with the intensities at half the pixel at half the precision: there are many."""
    return replace(canonical, fine=canonical.fine.astype(np.float16))


def judged(part: str, seed: int, people: People, work: Path) -> Iterator[dict]:
    """Yield a row for the healthy people, each kind of lesion, and the patients."""
    scoring = SCORINGS.get(part, Scoring())
    trained = part if part in TRAININGS else KEPT
    seeds = SEEDS if scoring.ensemble else (seed,)
    networks = [network(trained, of, people, work) for of in seeds]
    with ExitStack() as stack:
        for patch in scoring.patches:
            stack.enter_context(patch())

        def features(canonical: CanonicalVolume) -> Features:
            return features_by(networks, canonical, scoring)

        healthy = [replace(brain, features=features(brain.canonical)) for brain in people.healthy]
        sick = [
            Diseased(one.host, one.kind, one.canonical.data, features(one.canonical), one.truth) for one in people.sick
        ]
        of = trial(healthy, sick, scoring.scanners, modes=scoring.modes, contrast="t1", methods=(scoring.method,))
        counts = of.healthy_counts(scoring.method, EXTENT_FPR)
        yield row(part, seed, "healthy", false=[count for scanner in counts.values() for count in scanner])
        for kind, rows in of.met(scoring.method, EXTENT_FPR).items():
            values = {name: [getattr(one, name) for one in rows] for name in ("found", "false", "dice", "ap")}
            yield row(part, seed, kind, **values)
        yield row(
            part, seed, "patients", ap=list(patient_aps(people.patients, features, of.folds.everyone, scoring.method))
        )


def network(part: str, seed: int, people: People, work: Path) -> Model:
    """Return a trained network, with no healthy statistics; trained once."""
    path = work / f"{part.replace(' ', '-').replace(':', '').replace(',', '')}-{seed}.safetensors"
    if not path.exists():
        shipped = people.shipped
        facts = shipped.facts.model_copy(update={"healthy": None})
        weights = train(TRAININGS[part], seed, people.healthy)
        bare = checkpoint(facts, weights, {"template": shipped.reference["template"]})
        save_checkpoint(bare, path)
    return ready(load_checkpoint(path))


def train(training: Training, seed: int, healthy: Sequence[Healthy]) -> dict[str, FloatArray]:
    """Return the weights of a network that learned from those who are `learned`, and was watched on the other IXI people."""
    slices = []
    for learned in (True, False):
        brains = [brain for brain in healthy if brain.scanner == "IXI" and brain.learned is learned]
        looks = [
            appearance_of(brain.case.subject, "t1", seed=seed, variant=variant)
            if training.gammas
            else lambda same: same
            for brain in brains
            for variant in range(APPEARANCES)
        ]
        whole = [replace(brain.canonical, fine=None) for brain in brains for _ in range(APPEARANCES)]
        slices.append(join_slices([to_slices(look(brain)) for look, brain in zip(looks, whole, strict=True)]))
    options = TrainingOptions(
        epochs=short_epochs(len(slices[0]), 64, steps=training.steps),
        seed=seed,
        coarse_noise_sd=training.coarse_noise_sd,
    )
    changed = (
        mock.patch.multiple(augmentation, **training.constants) if training.constants else contextlib.nullcontext()
    )
    with changed, mock.patch.object(fit, "add_coarse_noise", training.noise):
        return train_vae(slices[0], slices[1], options)[0]


def features_by(networks: Sequence[Model], canonical: CanonicalVolume, scoring: Scoring) -> Features:
    """Return the features that a map needs, means over the networks, at half the precision: there are many."""
    of_map = {"combi": ("residual", "kl-magnitude"), "rec-error": ("residual",), PLACE_Z: ("residual", "intensity")}
    needed = (*of_map[scoring.method], *scoring.further)
    canonical = replace(canonical, fine=canonical.fine.astype(np.float32))
    found = [score_canonical(canonical, model, ("combi",)).features for model in networks]
    return {name: np.mean([of[name] for of in found], axis=0).astype(np.float16) for name in (*needed, "fine")}


def patient_aps(
    patients: Sequence[Glioma], features: Callable[[CanonicalVolume], Features], of: Statistics, method: Method
) -> Iterator[float]:
    """Yield the AP of each patient, judged by the statistics of all healthy people."""
    for patient in patients:
        mask = patient.canonical.mask
        own = widened(features(patient.canonical))
        maps = normalised_maps.normalised_maps(own, mask, of.reference, (method,), of.modes, contrast="t1")
        yield average_precision(np.abs(maps[method]), patient.fine_lesion, doubled_mask(mask))


def row(part: str, seed: int, kind: str, **values: Sequence[float]) -> dict:
    """Return a row of the CSV: the values of all people in one cell."""
    cells = {name: " ".join(f"{float(value):.3g}" for value in of) for name, of in values.items()}
    return dict.fromkeys(FIELDS, "") | {"part": part, "seed": seed, "kind": kind} | cells


def append(path: Path, rows: list[dict]) -> None:
    """Add the rows of one run at once."""
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, FIELDS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def rows_of(path: Path) -> list[dict]:
    """Return the rows of the CSV."""
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def page(rows: list[dict]) -> str:
    """Return the tables."""
    said = (__doc__ or "").split("\n\n", 2)[2]
    text = (
        "# What each part is worth\n\n"
        f"Made by `python -m benchmarks.measured.ablation`; {platform.machine()}, torch {torch.__version__}, one thread.\n\n{said}\n"
    )
    by_run: dict[tuple[str, int, str], dict] = {(row["part"], int(row["seed"]), row["kind"]): row for row in rows}
    for title, parts in (("Parts of the training", TRAININGS), ("Parts of the scoring", {KEPT: None, **SCORINGS})):
        text += f"## {title}\n\n| | seeds | findings per healthy scan | " + " | ".join(f"{kind}: AP" for kind in KINDS)
        text += " | spots found | five gliomas: AP |\n" + "|---" * (len(KINDS) + 5) + "|\n"
        for part in parts:
            seeds = [seed for seed in SEEDS if (part, seed, "healthy") in by_run]
            if seeds:
                text += table_row(part, seeds, by_run)
        text += "\n"
    return text.rstrip() + "\n"


def table_row(part: str, seeds: Sequence[int], by_run: Mapping[tuple[str, int, str], dict]) -> str:
    """Return a row of the page: means, and differences to what is kept with their intervals."""

    def values(of: str, kind: str, name: str) -> np.ndarray:
        return np.array([[float(x) for x in by_run[of, seed, kind][name].split()] for seed in seeds])

    def cell(kind: str, name: str) -> str:
        own = values(part, kind, name)
        said = f"{own.mean():.2f}"
        if part == KEPT:
            means = own.mean(axis=1)
            return f"{said} ({means.min():.2f} to {means.max():.2f})"
        if any((KEPT, seed, kind) not in by_run for seed in seeds):
            return said
        of = mean_interval(list((own - values(KEPT, kind, name)).mean(axis=0)))
        return f"{said} ({of.mean:+.2f} [{of.low:+.2f}, {of.high:+.2f}])"

    cells = [cell("healthy", "false"), *(cell(kind, "ap") for kind in KINDS), cell("spot", "found")]
    return f"| {part} | {len(seeds)} | " + " | ".join([*cells, cell("patients", "ap")]) + " |\n"


if __name__ == "__main__":
    main()
