"""The content of `evaluation.json`, typed. Definitions of the figures: `docs/reference/metrics.md`."""

from __future__ import annotations

from pydantic import BaseModel

from vae_loc.vocabulary import RESEARCH_ONLY

SCHEMA_VERSION = 3  # since 3 without uad_imag; since 2 with findings
INTERVAL = "95 %, bootstrap over subjects, 2000 resamples"


class Missing(BaseModel, frozen=True):
    """An undefined figure and the reason."""

    value: None = None
    reason: str


class Interval(BaseModel, frozen=True):
    """A mean over subjects with its 95 % bootstrap interval, None where there are too few subjects."""

    mean: float | None
    low: float | None
    high: float | None
    subjects: int


class PooledFigures(BaseModel, frozen=True):
    """The ranking of the voxels of all subjects together; `oracle_dice` is of the best threshold in hindsight."""

    auroc: float | None
    average_precision: float | None
    oracle_dice: float | None
    positives: int
    negatives: int
    intervals: dict[str, tuple[float, float] | None]


class MapFigures(BaseModel, frozen=True):
    """The figures of one map or baseline: per subject, pooled, and pooled under the paper's protocol."""

    per_subject: dict[str, Interval] | None = None
    pooled: PooledFigures | None = None
    paper_protocol: PooledFigures


class SliceFigures(BaseModel, frozen=True):
    """The AUROC of a score of slices, diseased against healthy; `reason` where there is none."""

    auroc: float | None
    interval: tuple[float, float] | None = None
    reason: str | None = None


class SliceTable(BaseModel, frozen=True):
    """The number of slices that are diseased or healthy for certain, and the figures of each score."""

    diseased: int
    healthy: int
    scores: dict[str, SliceFigures]


class FindingPoint(BaseModel, frozen=True):
    """Figures of findings at one rate: the expected number of false findings per healthy scan.

    Attributes
    ----------
    rate : findings that a healthy scan is expected to have
    patients_found : share of the patients with a lesion of whom a finding is on one
    strongest_is_lesion : share of the patients with a lesion whose strongest finding is on one
    lesions_found, lesions : by size class
    sensitivity : share of all lesions found; None without lesions
    false_per_patient : findings that are on no lesion
    dice : of the voxels of all findings, inside the brain
    healthy_findings, healthy_with_any : measured on `--healthy` scans: findings per scan, share of scans with any
    """

    rate: float
    patients_found: Interval
    strongest_is_lesion: Interval
    lesions_found: dict[str, int]
    lesions: dict[str, int]
    sensitivity: float | None
    false_per_patient: Interval
    dice: Interval
    healthy_findings: Interval | Missing
    healthy_with_any: Interval | Missing


class FindingTable(BaseModel, frozen=True):
    """Figures of the findings of one map: a point for each rate, and `headline`, the rate of `segment` by default."""

    headline: float
    points: list[FindingPoint]


class HealthyRates(BaseModel, frozen=True):
    """The measured share of healthy voxels above each stated share's threshold, per map."""

    subjects: int
    stated: list[float]
    measured: dict[str, list[Interval]]


class AnnotatedFacts(BaseModel, frozen=True):
    """One annotated scan: its files, the volumes of brain and annotation in ml, how many lesions and specks it has."""

    subject: str
    scan: str
    label: str
    brain_ml: float
    lesion_ml: float
    lesion_outside_brain_ml: float
    lesions: int
    specks: int


class EvaluatedModel(BaseModel, frozen=True):
    """The model that was evaluated."""

    sha256: str
    contrast: str


class EvaluationRecord(BaseModel, frozen=True):
    """The content of `evaluation.json`."""

    schema_version: int = SCHEMA_VERSION
    model: EvaluatedModel
    scans: list[AnnotatedFacts]
    failed: list[str]
    findings: dict[str, FindingTable | Missing]
    pixel: dict[str, MapFigures]
    baselines_that_beat_the_model: dict[str, list[str]]
    slices: SliceTable
    healthy_calibration: HealthyRates | Missing
    seed: int
    interval: str = INTERVAL
    versions: dict[str, str]
    use: str = RESEARCH_ONLY
