"""Several contrasts of one person: is T1 + T2 + FLAIR better than the best single one, and by which rule?

    python -m benchmarks.measured.persons --shared ../shared/data -o docs/measured/persons.md

The rule was chosen on healthy people and on lesions transplanted into them, not on the patients.
The healthy people are the held-out IXI subjects and ds002748; their T2 and FLAIR are made from their T1.
Patients are judged by the shipped models, by `vae-loc segment` as it is.
Brackets hold the 95 % interval of a bootstrap over people.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from benchmarks.cohorts import CONTRASTS
from benchmarks.command import finish, made_by, parser_of, reading
from benchmarks.measured.person_maps import SCANNERS, Person, people_of
from benchmarks.measured.person_patients import patients_page
from benchmarks.page import interval, table
from benchmarks.transplants import KINDS
from benchmarks.trial import average_precision
from vae_loc.evaluation.lesions import reaches_share
from vae_loc.model.facts import HealthyFindings
from vae_loc.scoring.finding_model import Finding
from vae_loc.scoring.findings import (
    Candidate,
    candidates_of,
    extent_fpr,
    false_findings,
    healthy_findings,
    strength_for,
    strengths_of,
)
from vae_loc.scoring.merged_findings import Seen, merged, person_map
from vae_loc.scoring.score_options import DEFAULT_FALSE_FINDINGS
from vae_loc.vocabulary import BoolArray, FloatArray

SHOWN = {  # which contrasts show the lesion: the others are those of the healthy host
    "all": CONTRASTS,
    "T2 and FLAIR": ("t2", "flair"),
    "T1": ("t1",),
    "T2": ("t2",),
    "FLAIR": ("flair",),
}
POWERS = {"mean": 1.0, "root mean square": 2.0, "cubic mean": 3.0, "maximum": np.inf}
BORDERS = ("union", "strongest", "together")
RATES = (0.05, 0.1, 0.2, 0.5)
Maps = Mapping[str, FloatArray]  # the signed map of each contrast
Rule = Callable[[Person, Maps], list[BoolArray]]


def _row(candidate: Candidate) -> Finding:
    """Return a candidate as a finding of which number, sign and strength alone are known."""
    nowhere = {"volume_ml": 0.0, "peak_ras_mm": (0, 0, 0), "peak_voxel": (0, 0, 0), "peak_slice": 0}
    unknown = dict.fromkeys(set(Finding.model_fields) - nowhere.keys() - {"centroid_ras_mm"})
    known = {"number": candidate.label, "sign": candidate.sign, "strength": candidate.strength, "contrast": ""}
    return Finding.model_validate(unknown | nowhere | {"centroid_ras_mm": (0, 0, 0)} | known)


def main() -> None:
    """Print and write the page."""
    parser = parser_of(__doc__, shared=True, output=True, models=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began = time.perf_counter()
    text = f"# Several contrasts of one person\n\n{made_by('benchmarks.measured.persons')}\n{reading(__doc__)}"
    trial = Trial(people_of(options.models, options.shared))
    text += READING + trial_page(trial) + dependence_page(trial) + patients_page(options.shared)
    print(f"{time.perf_counter() - began:.0f} s", flush=True)
    finish(text, options.output)


READING = f"""
## Healthy people, and lesions transplanted into them

- **One contrast**: the findings of that contrast alone, {DEFAULT_FALSE_FINDINGS:g} false ones per healthy scan.
- **Any**: the findings of any contrast at a third of {DEFAULT_FALSE_FINDINGS:g} each.
  Findings that share a voxel are one finding.
  Its voxels are the `union`, those of the `strongest` contrast, or those where the maps `together` (root mean square in
  units of their extents) are beyond their extents.
  **`vae-loc` uses the last rule.**
- **One map**: a mean of the three maps, each in units of its own threshold, has findings of its own.
  Its threshold for {DEFAULT_FALSE_FINDINGS:g} per healthy person comes from the other folds.
  It needs healthy people with all contrasts.

A lesion is visible in all contrasts, in T2 and FLAIR, or in one alone; the columns of one alone are means over the three.
"""


@dataclass
class Contrast:
    """One contrast's map in healthy people: its extent, and its findings without each fold."""

    extent: float
    known: dict[int, HealthyFindings]

    def level(self, fold: int, expected: float) -> float:
        """Return the strength beyond which a healthy scan is expected to have so many findings."""
        return strength_for(self.known[fold], expected)


class Trial:
    """People and what each contrast finds in them, judged by the other folds."""

    def __init__(self, people: Sequence[Person]) -> None:
        self.people = people
        self.folds = sorted({person.fold for person in people})
        self.contrasts = {contrast: self._contrast(contrast) for contrast in CONTRASTS}

    def _contrast(self, contrast: str) -> Contrast:
        own = [person for person in self.people if person.scanner in SCANNERS]
        maps = {person.subject: person.maps[contrast, "healthy"].astype(np.float32) for person in own}
        inside = np.concatenate([np.abs(maps[person.subject][person.masks[contrast]]) for person in own])
        extent = float(np.quantile(inside, 1 - extent_fpr(contrast)))
        strengths = {subject: strengths_of(signed, extent) for subject, signed in maps.items()}
        return Contrast(extent, self._known(extent, strengths, own))

    def _known(
        self, extent: float, strengths: Mapping[str, list[float]], people: Sequence[Person]
    ) -> dict[int, HealthyFindings]:
        """Return the findings of healthy people without each fold."""
        return {
            fold: healthy_findings(
                extent, [strengths[p.subject] for p in people if p.fold != fold], None, prior_weight=0
            )
            for fold in self.folds
        }

    def one(self, contrast: str) -> Rule:
        """Return the rule of one contrast alone."""

        def findings(person: Person, maps: Maps) -> list[BoolArray]:
            return [one.inside for one in self.seen(contrast, person, maps[contrast], DEFAULT_FALSE_FINDINGS)]

        return findings

    def seen(self, contrast: str, person: Person, signed: FloatArray, expected: float) -> list[Seen]:
        """Return the findings of one contrast of which a healthy scan is expected to have so many."""
        of = self.contrasts[contrast]
        labels, candidates = candidates_of(signed, of.extent)
        return [
            Seen(contrast, _row(c), false_findings(of.known[person.fold], c.strength), labels == c.label)
            for c in candidates
            if c.strength > of.level(person.fold, expected)
        ]

    def together(self, maps: Maps) -> FloatArray:
        """Return the map of a person as `vae-loc` makes it."""
        return person_map([np.abs(maps[c]) for c in CONTRASTS], [self.contrasts[c].extent for c in CONTRASTS])

    def any_of(self, border: str) -> Rule:
        """Return the rule that takes the findings of any contrast."""

        def findings(person: Person, maps: Maps) -> list[BoolArray]:
            each = DEFAULT_FALSE_FINDINGS / len(CONTRASTS)
            seen = [one for c in CONTRASTS for one in self.seen(c, person, maps[c], each)]
            heat = self.together(maps) if border == "together" else np.full_like(maps["t1"], 2)
            found = merged(seen, heat, len(CONTRASTS))
            return [of.seen[0].inside if border == "strongest" else of.inside for of in found]

        return findings

    def norm(self, power: float, person: Person, maps: Maps, expected: float = DEFAULT_FALSE_FINDINGS) -> FloatArray:
        """Return the power mean of the maps, each in units of its level: 1 where all are at their levels."""
        scaled = [np.abs(maps[c]) / self.contrasts[c].level(person.fold, expected) for c in CONTRASTS]
        return power_mean(scaled, power)

    def extent_of_norm(self, power: float, fold: int, expected: float = DEFAULT_FALSE_FINDINGS) -> float:
        """Return the power mean where all contrasts are at their extents."""
        shares = [np.float32(of.extent / of.level(fold, expected)) for of in self.contrasts.values()]
        return float(power_mean(shares, power))

    def strengths_of_norm(self, power: float, expected: float = DEFAULT_FALSE_FINDINGS) -> dict[str, list[float]]:
        """Return the strengths of the one map's findings in each healthy person."""
        return {
            person.subject: strengths_of(
                self.norm(power, person, self.maps(person, "healthy", ()), expected),
                self.extent_of_norm(power, person.fold, expected),
            )
            for person in self.people
        }

    def one_map(self, power: float) -> Rule:
        """Return the rule of one map of all contrasts."""
        known = self._known(self.extent_of_norm(power, 0), self.strengths_of_norm(power), self.people)

        def findings(person: Person, maps: Maps) -> list[BoolArray]:
            heat, level = self.norm(power, person, maps), strength_for(known[person.fold], DEFAULT_FALSE_FINDINGS)
            labels, candidates = candidates_of(heat, self.extent_of_norm(power, person.fold))
            return [labels == candidate.label for candidate in candidates if candidate.strength > level]

        return findings

    def maps(self, person: Person, kind: str, shown: Sequence[str]) -> Maps:
        """Return the maps of a person whose lesion only some contrasts show."""
        return {c: person.maps[c, kind if c in shown else "healthy"].astype(np.float32) for c in CONTRASTS}


def power_mean(values: Sequence[FloatArray], power: float) -> FloatArray:
    """Return (mean of x^p)^(1/p), the maximum for p = infinity."""
    if np.isinf(power):
        return np.maximum.reduce(values)
    result: FloatArray = np.mean([value**power for value in values], axis=0) ** np.float32(1 / power)
    return result


def trial_page(trial: Trial) -> str:
    """Return the tables of healthy people and transplanted lesions."""
    rules: dict[str, Rule] = {f"{c.upper()} alone": trial.one(c) for c in CONTRASTS}
    rules |= {f"any, {border}": trial.any_of(border) for border in BORDERS}
    rules |= {f"one map, {name}": trial.one_map(power) for name, power in POWERS.items()}
    scenes = [*list(SHOWN)[:2], "one alone"]
    columns = ["rule", "findings per healthy person: IXI", "ds002748", "all"]
    text = "\n" + table(columns, (healthy_row(name, rule, trial) for name, rule in rules.items()))
    for kind in KINDS:
        text += f"\n### {kind.capitalize()}: found / false findings / Dice, by which contrasts show it\n\n"
        rows = [[name, *(met_cell(trial, rule, kind, scene) for scene in scenes)] for name, rule in rules.items()]
        text += table(["rule", *scenes], rows)
        print(kind, flush=True)
    return text + precision_rows(trial)


def healthy_row(name: str, rule: Rule, trial: Trial) -> list[str]:
    """Return how many findings healthy people have."""
    counts = {person.subject: len(rule(person, trial.maps(person, "healthy", ()))) for person in trial.people}
    groups = [[p for p in trial.people if p.scanner in of] for of in (("IXI",), ("ds002748",), ("IXI", "ds002748"))]
    return [name, *(interval([counts[p.subject] for p in group]) for group in groups)]


def met_cell(trial: Trial, rule: Rule, kind: str, scene: str) -> str:
    """Return found with its interval, false findings and Dice of a kind of lesion."""
    scenes = [SHOWN[scene]] if scene in SHOWN else [(contrast,) for contrast in CONTRASTS]
    rows = np.array(
        [
            np.mean([met(rule(p, trial.maps(p, kind, shown)), p.truths[kind]) for shown in scenes], axis=0)
            for p in trial.people
            if kind in p.truths
        ]
    )
    found, false, dice = rows.T
    return f"{interval(list(found))} / {false.mean():.2f} / {dice.mean():.3f}"


def met(found: Sequence[BoolArray], truth: BoolArray) -> tuple[float, float, float]:
    """Return whether a finding is on a lesion, how many are not, and their Dice."""
    marked = np.logical_or.reduce([np.zeros_like(truth), *found])
    covered, size = np.count_nonzero(marked & truth), np.count_nonzero(truth)
    annotated, sizes = (np.array([np.count_nonzero(of & mask) for of in found], int) for mask in (truth, True))
    on = reaches_share(annotated, sizes)
    return float(on.any()), float(np.count_nonzero(~on)), 2 * covered / (np.count_nonzero(marked) + size)


def precision_rows(trial: Trial) -> str:
    """Return the AP of the maps, where all contrasts show the lesion and where T2 and FLAIR do."""
    maps: dict[str, Callable[[Person, Maps], FloatArray]] = {
        f"{c.upper()} alone": lambda _, of, c=c: np.abs(of[c]) for c in CONTRASTS
    }
    maps |= {f"{name} of all": functools.partial(trial.norm, power) for name, power in POWERS.items()}
    maps["person map (root mean square in units of the extents)"] = lambda _, of: trial.together(of)
    scenes = list(SHOWN)[:2]
    rows = [
        [name, *(f"{precision(trial, make, kind, SHOWN[scene]):.3f}" for kind in KINDS for scene in scenes)]
        for name, make in maps.items()
    ]
    return "\n### AP of the maps\n\n" + table(["map", *(f"{k}, {scene}" for k in KINDS for scene in scenes)], rows)


def precision(trial: Trial, make: Callable[[Person, Maps], FloatArray], kind: str, shown: Sequence[str]) -> float:
    """Return the mean AP over people, in the brain that any contrast's mask holds."""
    people = [person for person in trial.people if kind in person.truths]
    return float(
        np.mean([average_precision(make(p, trial.maps(p, kind, shown)), p.truths[kind], p.brain) for p in people])
    )


def dependence_page(trial: Trial) -> str:
    """Return at which level of the one map a healthy person has 0.1 findings: of one person's, of three people's maps."""
    rows = []
    for name, power in POWERS.items():
        levels = [level_of(trial, trial.strengths_of_norm(power, rate).values(), power, rate) for rate in RATES]
        levels.append(level_of(trial, of_three_people(trial, power), power, DEFAULT_FALSE_FINDINGS))
        rows.append([name, *(f"{level:.2f}" for level in levels)])
    columns = ["one map", *(f"{rate:g}" for rate in RATES), "0.1, the contrasts of three different people"]
    return LEVELS + table(columns, rows) + DEPENDENCE


LEVELS = """
### What the level of one map rests on

Level of the power mean for an expected number of findings per healthy person, in units of the contrasts' own levels for it:

"""
DEPENDENCE = """
One person's synthesized contrasts depend on each other more than real ones do, those of three people not at all: a level
of one map that is right for real contrasts lies between the two, and healthy people with all contrasts, who could tell,
are not at hand. The sum over the contrasts bounds the false findings of `any` whatever the dependence is.
"""


def level_of(trial: Trial, strengths: Iterable[list[float]], power: float, rate: float) -> float:
    """Return the strength beyond which a person has so many findings."""
    known = healthy_findings(trial.extent_of_norm(power, 0, rate), list(strengths), None, prior_weight=0)
    return strength_for(known, rate)


def of_three_people(trial: Trial, power: float) -> list[list[float]]:
    """Return the strengths of the one map's findings where each contrast is of another person."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(trial.people)) for _ in CONTRASTS]
    strengths = []
    for places in zip(*orders, strict=True):
        three = [trial.people[place] for place in places]
        scaled = [
            np.abs(person.maps[c, "healthy"].astype(np.float32))
            / trial.contrasts[c].level(person.fold, DEFAULT_FALSE_FINDINGS)
            for person, c in zip(three, CONTRASTS, strict=True)
        ]
        strengths.append(strengths_of(power_mean(scaled, power), trial.extent_of_norm(power, 0)))
    return strengths


if __name__ == "__main__":
    main()
