"""The content of `evaluation.json`, typed. Definitions of the figures: `docs/metrics.md`."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from vae_loc.vocabulary import RESEARCH_ONLY

SCHEMA_VERSION = 1
INTERVAL = "95 %, bootstrap over subjects, 2000 resamples"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Missing(_Part):
    """A figure that cannot be told, and why."""

    value: None = None
    reason: str


class Interval(_Part):
    """A mean over subjects with its 95 % bootstrap interval, None where there are too few subjects."""

    mean: float | None
    low: float | None
    high: float | None
    subjects: int


class PooledFigures(_Part):
    """How a score ranks the voxels of all subjects together; `oracle_dice` is of the best threshold in hindsight."""

    auroc: float | None
    average_precision: float | None
    oracle_dice: float | None
    positives: int
    negatives: int
    intervals: dict[str, tuple[float, float] | None]


class MapFigures(_Part):
    """The figures of one map or baseline: per subject, pooled, and pooled under the paper's protocol."""

    per_subject: dict[str, Interval] | None = None
    pooled: PooledFigures | None = None
    paper_protocol: PooledFigures


class SliceFigures(_Part):
    """How a score of slices tells diseased slices from healthy ones."""

    auroc: float | None
    interval: tuple[float, float] | None = None
    reason: str | None = None


class SliceTable(_Part):
    """How many slices are diseased or healthy for certain, and how each score tells them apart."""

    diseased: int
    healthy: int
    scores: dict[str, SliceFigures]


class FrocPoint(_Part):
    """Lesions found and false positives at one healthy false-positive rate; counts by size class."""

    healthy_fpr: float
    false_positives_per_scan: float
    sensitivity: float | None
    found: dict[str, int]
    lesions: dict[str, int]


class HealthyRates(_Part):
    """The measured share of healthy voxels above each stated share's threshold, per map."""

    subjects: int
    stated: list[float]
    measured: dict[str, list[Interval]]


class AnnotatedFacts(_Part):
    """One annotated scan: its files, and the volumes of brain and lesions in ml."""

    subject: str
    scan: str
    label: str
    brain_ml: float
    lesion_ml: float
    lesion_outside_brain_ml: float
    lesions: int


class EvaluatedModel(_Part):
    """The model that was evaluated."""

    sha256: str
    contrast: str


class EvaluationRecord(_Part):
    """The content of `evaluation.json`."""

    schema_version: int = SCHEMA_VERSION
    model: EvaluatedModel
    scans: list[AnnotatedFacts]
    failed: list[str]
    pixel: dict[str, MapFigures]
    baselines_that_beat_the_model: dict[str, list[str]]
    slices: SliceTable
    lesions: dict[str, list[FrocPoint] | Missing]
    healthy_calibration: HealthyRates | Missing
    seed: int
    interval: str = INTERVAL
    versions: dict[str, str]
    use: str = RESEARCH_ONLY
