"""The words at the end of a training: how well the network learned, what its thresholds rest on, what to do next."""

from __future__ import annotations

from pathlib import Path

from vae_loc.errors import printable
from vae_loc.training.training_record import TrainingRecord

FEW_SUBJECTS = 5  # fewer do not tell what is usual


def closing_words(record: TrainingRecord, output: Path) -> list[str]:
    """Return the summary of a training, one sentence or two per line."""
    learned, held_out, reference = (
        len(subjects) for subjects in (record.training_subjects, record.holdout_subjects, record.reference_subjects)
    )
    epochs = len(record.epochs)
    first, last = (record.epochs[at]["valid_loss"] for at in (0, -1))
    share = held_out / (learned + held_out)
    more = f" and on {subjects_words(reference)} of --reference" if reference else ""
    lines = [
        f"{printable(output)}: the network learned from {subjects_words(learned)} in {epochs} epoch{_s(epochs)}.",
        f"Loss of the held-out slices: {first:.1f} nats after the first epoch, {last:.1f} after the last, "
        f"{record.best_valid_loss:.1f} at its best.",
        f"Thresholds and findings rest on {subjects_words(held_out)} held out ({share:.0%}){more}.",
    ]
    if record.skipped:
        lines.append(f"{len(record.skipped)} scan{_s(len(record.skipped))} could not be used; the record names them.")
    model = printable(output)
    return [
        *lines,
        *_few_subjects(held_out + reference),
        "Next: look at what it marks in a healthy scan that it has not seen and in a patient, and measure it:",
        f"  vae-loc segment SCAN -m {model} -o results --report",
        f'  vae-loc evaluate patients/ --labels "{{subject}}_seg.nii.gz" -m {model} --healthy healthy/',
    ]


def interrupted_words(state: Path) -> str:
    """Name the files that stay of a training that a signal ends, and the way to go on."""
    if not state.exists():
        return "vae-loc: interrupted before the first epoch was done; no model was written"
    kept = f"the finished epochs are kept in {printable(state)}"
    return f"vae-loc: interrupted; {kept}. The same command with --resume goes on from there"


def _few_subjects(judged: int) -> list[str]:
    """Return a warning if the healthy statistics of a new model rest on too few subjects; else nothing."""
    if judged >= FEW_SUBJECTS:
        return []
    return [
        f"warning: thresholds and findings rest on {subjects_words(judged)} that the network did not learn from; "
        f"at least {FEW_SUBJECTS} are needed to tell what is usual. Add scans, or raise --holdout, or give --reference"
    ]


def subjects_words(count: int) -> str:
    """Return a number of subjects in words.

    >>> subjects_words(1), subjects_words(5)
    ('1 subject', '5 subjects')
    """
    return f"{count} subject{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
