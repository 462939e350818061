"""What options mean."""

from pathlib import Path

import pytest

from vae_loc.cli.options import (
    MachineOptions,
    MaskOptions,
    parsed_cubic_mm,
    parsed_shard,
    parsed_share,
)
from vae_loc.errors import UnusableOption
from vae_loc.scoring.score_options import brain_mask_of


@pytest.mark.parametrize(("array", "expected"), [((0, 7, 1), 8), ((1, 8, 1), 8), ((0, 14, 2), 8), ((5, 5, 1), 1)])
def test_slurm_arrays_of_any_numbering_are_all_parts(monkeypatch, array, expected):
    first, last, step = array
    tasks = range(first, last + 1, step)
    found = []
    for task in tasks:
        facts = {"ID": task, "COUNT": len(tasks), "MIN": first, "STEP": step}
        for name, value in facts.items():
            monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
        found.append(parsed_shard("slurm"))
    assert found == [(part, expected) for part in range(1, expected + 1)]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "a/b", "-1/2", "1/0", "slurm"])
def test_what_is_no_shard_is_refused(text, monkeypatch):
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID", raising=False)
    with pytest.raises(UnusableOption, match="--shard"):
        parsed_shard(text)


@pytest.mark.parametrize(("text", "expected"), [("100mm3", 100), ("0", 0), ("2.5 mm3", 2.5)])
def test_a_smallest_size_is_in_cubic_millimetres(text, expected):
    assert parsed_cubic_mm(text) == expected
    assert MaskOptions(min_size=text).segmentation().min_size_mm3 == expected


@pytest.mark.parametrize("text", ["1ml", "-1", "1e3", "mm3", ""])
def test_another_unit_is_refused(text):
    with pytest.raises(UnusableOption, match="--min-size"):
        parsed_cubic_mm(text)


def test_a_brain_mask_is_a_word_or_a_file():
    given = [None, "auto", "none", "auto.nii"]
    assert [brain_mask_of(option) for option in given] == [None, "auto", "none", Path("auto.nii")]


def test_machine_options_say_how_a_cohort_is_run():
    run = MachineOptions(jobs=3, scheduler="dask", shard="2/4", skip_existing=True).run_options(persons=True)
    assert (run.jobs, run.scheduler, run.shard, run.skip_existing) == (3, "dask", (2, 4), True)


@pytest.mark.parametrize("name", ["threshold", "false_findings"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_no_option_of_a_mask_is_nan_or_infinite(name, value):
    """They pass every range that typer checks."""
    with pytest.raises(UnusableOption, match=f"--{name.replace('_', '-')}: expected a finite number"):
        MaskOptions(**{name: value}).segmentation()


@pytest.mark.parametrize(("text", "expected"), [("0.05", 0.05), (".05", 0.05), ("5%", 0.05), ("0.5 %", 0.005)])
def test_a_share_of_healthy_voxels_may_be_given_in_percent(text, expected):
    assert parsed_share(text) == pytest.approx(expected)
    assert MaskOptions(fpr=text).segmentation().fpr == pytest.approx(expected)


@pytest.mark.parametrize("text", ["nan", "inf", "-0.05", "0", "0.6", "60%", "1e-9", "five", "", "5%%", "1e999"])
def test_what_is_no_share_is_refused(text):
    with pytest.raises(UnusableOption, match=r"--fpr: expected a share from 0.0001 to 0.5, or a percentage such as 5%"):
        parsed_share(text)


def test_a_percentage_without_its_sign_is_explained():
    with pytest.raises(UnusableOption, match="got 5; 5% is 5 percent of healthy voxels"):
        parsed_share("5")
