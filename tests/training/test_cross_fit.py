"""Nobody is judged by statistics that know him."""

import numpy as np
import pytest

from vae_loc.scoring import healthy_modes
from vae_loc.scoring.normalised_maps import at_place, normalised_maps, z_by_place
from vae_loc.system.array_store import ArrayStore
from vae_loc.training.cross_fit import CrossFit, FoldedBrain, folds_of

MASK = np.zeros((12,) * 3, bool)
MASK[2:-2, 2:-2, 2:-2] = True
PATTERN = np.sin(np.arange(12) / 2).astype(np.float32)[:, None, None] * np.ones(MASK.shape, np.float32)
SUBJECTS = [f"s{number:02}" for number in range(30)]
COUNT = healthy_modes.count_for(len(SUBJECTS))  # 6


def brains(*, spoiled=None, modes=True):
    """Thirty brains that differ by one pattern and noise; all of one fold may be spoiled."""
    folds = folds_of(SUBJECTS, modes=modes)
    made = []
    for number, subject in enumerate(SUBJECTS):
        rng = np.random.default_rng(number)
        values = rng.normal() * PATTERN + 0.3 * rng.standard_normal(MASK.shape).astype(np.float32)
        if folds[subject] == spoiled:
            values = 50 * rng.standard_normal(MASK.shape)
        features = {"residual": (values * MASK).astype(np.float32), "kl-magnitude": np.abs(values).astype(np.float32)}
        made.append(FoldedBrain(features, MASK, folds[subject]))
    return made


@pytest.fixture
def store():
    with ArrayStore() as kept:
        yield kept


@pytest.mark.parametrize("modes", [True, False])
def test_a_fold_is_judged_by_statistics_that_do_not_know_it(store, modes):
    for fold in (0, 3):
        of = [
            CrossFit(brains(spoiled=spoiled, modes=modes), store, prior={}, count=COUNT if modes else 0).statistics(
                frozenset({fold})
            )
            for spoiled in (None, fold)
        ]
        for kind in ("reference", "modes"):
            first, second = (getattr(statistics, kind) for statistics in of)
            assert first.keys() == second.keys()
            for name in first:
                np.testing.assert_allclose(first[name], second[name], atol=1e-3, err_msg=name)


def test_what_a_new_brain_is_judged_by_knows_all(store):
    fit, spoiled = (CrossFit(brains(spoiled=of), store, prior={}, count=COUNT) for of in (None, 2))
    assert not np.allclose(fit.statistics().reference["residual.sd"], spoiled.statistics().reference["residual.sd"])


def test_a_fold_is_judged_with_as_many_modes_as_a_new_brain(store):
    """Of 30 brains 24 are left for a fold, 18 for a pair: too few to choose six modes, enough to make them."""
    fit = CrossFit(brains(), store, prior={}, count=COUNT)
    made = [fit.statistics(frozenset(left_out)).modes["residual"] for left_out in ((), (0,), (3,))]
    assert [len(modes) for modes in made] == [COUNT] * 3
    assert all(np.abs(modes).max(axis=1).min() > 0 for modes in made)


def test_what_modes_leave_is_no_wider_in_a_new_brain_than_they_say(store):
    """In a brain that the modes know less is left: its spread would be told too small, and new brains look diseased."""
    made = brains()
    statistics = CrossFit(made, store, prior={}, count=COUNT).statistics()
    assert statistics.modes["residual"].shape[0] >= 5
    rng = np.random.default_rng(7)
    spreads = []
    for _ in range(20):
        values = rng.normal() * PATTERN + 0.3 * rng.standard_normal(MASK.shape).astype(np.float32)
        usual = at_place(
            values * MASK, MASK, statistics.reference["residual.mean"], statistics.reference["residual.sd"]
        )
        known = statistics.reference["residual.sd"] > 0
        rest = healthy_modes.without_modes(usual, MASK, known, statistics.modes["residual"])
        z, inside = z_by_place(
            rest, MASK, statistics.reference["residual.rest.mean"], statistics.reference["residual.rest.sd"]
        )
        spreads.append(z[inside].std())
    assert 0.75 < np.mean(spreads) < 1.05


def test_too_few_others_are_not_left_out_of_each_other(store):
    few = [FoldedBrain(brain.features, MASK, fold) for fold, brain in enumerate(brains()[:3])]
    fit = CrossFit(few, store, prior={})
    alone, all_of_them = fit.statistics(frozenset({1})), fit.statistics()
    assert all(np.array_equal(alone.reference[name], all_of_them.reference[name]) for name in all_of_them.reference)


def test_given_modes_stay_and_what_was_known_before_counts(store):
    made = brains()
    first = CrossFit(made, store, prior={}, count=COUNT).statistics()
    reference = {name: values for name, values in first.reference.items() if name.endswith((".mean", ".sd"))}
    prior = {
        name: 10
        * np.stack([(reference[f"{name}.sd"] > 0), reference[f"{name}.mean"], reference[f"{name}.sd"] ** 2]).astype(
            float
        )
        for name in ("residual", "residual.rest", "kl-magnitude")
    }
    site = CrossFit(made[:6], store, prior=prior, given=first)
    known, wider = (of.reference["residual.sd"] > 0 for of in (first, site.statistics()))
    kept = np.zeros(known.shape, np.float32)
    kept[wider] = site.statistics().modes["residual"][0]
    assert np.array_equal(kept[known & wider], first.modes["residual"][0][wider[known]])
    assert not kept[~known].any()
    maps = normalised_maps(made[7].features, MASK, site.statistics().reference, ["rec-error"], site.statistics().modes)
    assert np.isfinite(maps["rec-error"]).all()
    assert maps["rec-error"][MASK].std() > 0.5


def test_folds_are_even_and_the_same_for_any_order():
    folds = folds_of(list(reversed(SUBJECTS)), modes=True)
    assert folds == folds_of(SUBJECTS, modes=True)
    assert sorted(np.bincount(list(folds.values()))) == [6] * 5
    assert len(set(folds_of(["a", "b", "b"], modes=False).values())) == 2
