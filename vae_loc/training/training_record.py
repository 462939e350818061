"""The record of a training, `<model>.training.json`, and its summary on the terminal."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ValidationError

from vae_loc.errors import UnusableInput, printable
from vae_loc.model.facts import NetworkSize, Preprocessing, Training
from vae_loc.system.reading import read_text
from vae_loc.training.training_options import TrainingOptions

SCHEMA_VERSION = 1
FEW_SUBJECTS = 5  # thresholds from fewer are a warning


class TrainedFacts(BaseModel, frozen=True):
    """The facts of the model file, without its healthy statistics."""

    format_version: int
    contrast: str
    network: NetworkSize
    preprocessing: Preprocessing
    training: Training


class TrainingRecord(BaseModel, frozen=True):
    """The content of `<model>.training.json`."""

    schema_version: int = SCHEMA_VERSION
    recipe: TrainingOptions
    model_sha256: str
    training_subjects: list[str]
    holdout_subjects: list[str]
    reference_subjects: list[str] = []
    calibration_subjects: list[str] = []
    epochs: list[dict[str, float]]
    best_valid_loss: float
    facts: TrainedFacts
    skipped: list[str] = []


def read_record(path: Path) -> TrainingRecord:
    """Return the content of a training's record.

    Raises
    ------
    UnusableInput : if it cannot be read, or is no such record.
    """
    try:
        return TrainingRecord.model_validate_json(read_text(path, "a training record"))
    except ValidationError as error:
        raise UnusableInput(path, "expected the record of a training, found something else") from error


def summary(record: TrainingRecord, output: Path) -> list[str]:
    """Return the summary of a training, one sentence or two per line."""
    model, epochs, held_out = printable(output), record.epochs, len(record.holdout_subjects)
    learned, judged = len(record.training_subjects), held_out + len(record.reference_subjects)
    first, last = (epochs[at]["valid_loss"] for at in (0, -1))
    more = f" and on {counted(judged - held_out, 'subject')} of --reference" if judged > held_out else ""
    lines = [
        f"{model}: the network learned from {counted(learned, 'subject')} in {counted(len(epochs), 'epoch')}.",
        f"Loss of the held-out slices: {first:.1f} nats after the first epoch, {last:.1f} after the last, "
        f"{record.best_valid_loss:.1f} at its best.",
        f"Thresholds and findings rest on {counted(held_out, 'subject')} held out "
        f"({held_out / (learned + held_out):.0%}){more}.",
    ]
    if record.skipped:
        lines.append(f"{counted(len(record.skipped), 'scan')} could not be used; the record names them.")
    if judged < FEW_SUBJECTS:
        lines.append(
            f"warning: thresholds and findings rest on {counted(judged, 'subject')} that the network did not learn "
            f"from; at least {FEW_SUBJECTS} are needed. Add scans, or raise --holdout, or give --reference"
        )
    return [
        *lines,
        "Next: look at its findings in a healthy scan that it has not seen and in a patient, and measure it:",
        f"  vae-loc segment SCAN -m {model} -o results --report",
        f'  vae-loc evaluate patients/ --labels "{{subject}}_seg.nii.gz" -m {model} --healthy healthy/',
    ]


def interrupted(state: Path) -> str:
    """Return the line of a training that a signal ends: the file with the finished epochs, and how to go on."""
    if not state.exists():
        return "vae-loc: interrupted before the first epoch was done; no model was written"
    kept = f"the finished epochs are kept in {printable(state)}"
    return f"vae-loc: interrupted; {kept}. The same command with --resume goes on from there"


def counted(count: int, noun: str) -> str:
    """Return a number and its noun.

    >>> counted(1, "subject"), counted(5, "subject")
    ('1 subject', '5 subjects')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"
