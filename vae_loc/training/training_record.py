"""The content of `<model>.training.json`, typed: the options, the subjects and the course of a training."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from vae_loc.errors import UnusableInput
from vae_loc.model.facts import NetworkSize, Preprocessing, Training
from vae_loc.system.reading import read_text

SCHEMA_VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Recipe(_Part):
    """The options of a training, as they were settled; see `TrainingOptions`."""

    contrast: str
    synthesize_from: str | None
    latents: int
    c: float
    image_size: int
    epochs: int
    batch_size: int
    seed: int
    holdout: float
    schedule: str
    coarse_noise_sd: float
    precision: str = "fp32"


class TrainedFacts(_Part):
    """Facts of the model file, without its healthy statistics."""

    format_version: int
    contrast: str
    network: NetworkSize
    preprocessing: Preprocessing
    training: Training


class TrainingRecord(_Part):
    """The content of `<model>.training.json`."""

    schema_version: int = SCHEMA_VERSION
    recipe: Recipe
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
