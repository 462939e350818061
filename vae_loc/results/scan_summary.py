"""The scores JSON of a scan, typed: what it holds, how it is made and read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ValidationError

from vae_loc.errors import UnusableInput
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import healthy_percentile
from vae_loc.model.network import Model
from vae_loc.preprocessing.pose import cube_affine
from vae_loc.scoring.anatomy import template2mni_mm
from vae_loc.scoring.finding_model import Finding
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import DEFAULT_FPR, Rule, ScoreOptions
from vae_loc.system.reading import are_whole, read_text
from vae_loc.system.versions import versions
from vae_loc.vocabulary import RESEARCH_ONLY, SAMPLE_SCORES, Method, Polarity

SCHEMA_VERSION = 2  # since 2 with findings, before that with components
Z_DIGITS = 3  # of the height of a slice in mm
VOLUME_RULE = "mean over the slices that are counted"


class SampleValues(BaseModel, frozen=True):
    """Rec, KL and -ELBO in nats, and their percentiles among healthy ones, None without healthy statistics."""

    rec: float
    rec_percentile: float | None
    kl: float
    kl_percentile: float | None
    elbo: float
    elbo_percentile: float | None


class SliceValues(SampleValues):
    """The scores of one axial slice: its height in RAS mm, and whether it holds enough brain to count."""

    z_mm: float
    counted: bool


class MapSummary(BaseModel, frozen=True):
    """The facts of a map without a mask.

    `flagged` is the share of brain voxels above the score that 5 % of healthy voxels exceed; None without healthy
    statistics.
    """

    flagged: float | None


class MaskSummary(BaseModel, frozen=True):
    """One mask: the rule by which voxels were marked, its volume and its findings, strongest first.

    Attributes
    ----------
    threshold : map value beyond which a voxel may be marked
    min_strength : map value that a finding must exceed somewhere; 0 where every region beyond the threshold is one
    threshold_from : where both come from, in words
    false_findings : how many findings a healthy scan is expected to have by this rule, at most, and not below
        1 / `told_by`; None if it is a threshold
    regions_ml : marked volume in each region of the atlas that has any, by side and name, and `elsewhere`; None
        without an atlas
    told_by : how many real and ordinary scans of the model tell it; simulated ones where it has no others
    """

    threshold: float
    min_strength: float
    threshold_from: str
    false_findings: float | None
    told_by: int | None
    min_size_mm3: float
    volume_ml: float
    regions_ml: dict[str, float] | None = None
    findings: list[Finding]

    @property
    def rule(self) -> Rule:
        """The rule by which voxels were marked."""
        return Rule(self.threshold, self.min_strength, self.threshold_from, self.false_findings, self.told_by)


class ModelSummary(BaseModel, frozen=True):
    """The model that scored the scan."""

    sha256: str
    contrast: str
    seed: int
    healthy_subjects: int


class Inputs(BaseModel, frozen=True):
    """SHA-256 of the scan and of the brain mask file, where one was used."""

    scan: str
    brain_mask: str | None


class ScanSummary(BaseModel, frozen=True):
    """The content of a scores JSON.

    `template2ras_mm` is the affine (4, 4) from mm on the model's mean brain, whose middle is at 0, to RAS mm of the
    scan; None if the scan is not aligned to one, or not well. `ras2mni_mm` is that from RAS mm of the scan to mm of the
    template MNI152NLin2009aSym.
    `forced` says why the scan should not have been scored, and was all the same.
    """

    schema_version: int = SCHEMA_VERSION
    scan: str
    volume: SampleValues
    volume_rule: str
    slices: list[SliceValues]
    brain_ml: float
    brain_mask: str
    maps: dict[Method, MapSummary]
    masks: dict[Method, MaskSummary] | None = None
    warnings: list[str]
    template2ras_mm: list[list[float]] | None = None
    ras2mni_mm: list[list[float]] | None = None
    model: ModelSummary
    versions: dict[str, str]
    use: str
    inputs: Inputs
    options: dict[str, object]
    files: dict[str, str] = {}
    forced: list[str] = []

    @property
    def polarity(self) -> Polarity:
        """Which sign the maps hold."""
        stated = self.options.get("polarity")
        return "bright" if stated == "bright" else "dark" if stated == "dark" else "any"

    def content(self) -> dict[str, object]:
        """Return the content of the file; masks only where there are any."""
        return self.model_dump(mode="json", exclude={"masks"} if self.masks is None else None)


def summarize(
    located: Located, model: Model, masks: dict[Method, MaskSummary] | None, options: ScoreOptions, inputs: Inputs
) -> ScanSummary:
    """Return the summary of a scored scan, without the files, which are not written yet."""
    samples, healthy, maps = located.scores, model.facts.healthy, {}
    slices = []
    for index, z_mm in enumerate(samples.positions_mm):
        values = {name: float(samples.slices[name][index]) for name in SAMPLE_SCORES}
        percentiles = _with_percentiles(values, healthy.slices if healthy else None)
        counted = bool(samples.counted[index])
        slices.append(SliceValues(z_mm=round(float(z_mm), Z_DIGITS), counted=counted, **percentiles))
    # the share of brain voxels above what a share `DEFAULT_FPR` of healthy voxels exceeds; maps are 0 outside the brain
    for method, values_of in located.maps.items():
        flagged = None
        if healthy is not None:
            threshold = healthy_threshold(model.checkpoint, method, DEFAULT_FPR, raw=located.bare)
            flagged = np.count_nonzero(values_of > threshold) / np.count_nonzero(located.brain)
        maps[method] = MapSummary(flagged=flagged)
    ways = _alignments(located, model)
    return ScanSummary(
        scan=str(located.volume.path),
        volume=SampleValues(**_with_percentiles(samples.volume, healthy.volumes if healthy else None)),
        volume_rule=VOLUME_RULE,
        slices=slices,
        brain_ml=located.scan.brain_ml,
        brain_mask=located.scan.brain_source,
        maps=maps,
        masks=masks,
        warnings=list(located.warnings),
        template2ras_mm=ways.get("template2ras_mm"),
        ras2mni_mm=ways.get("ras2mni_mm"),
        model=ModelSummary(
            sha256=model.digest,
            contrast=model.facts.contrast,
            seed=model.facts.training.seed,
            healthy_subjects=healthy.subjects if healthy else 0,
        ),
        versions=versions(),
        use=RESEARCH_ONLY,
        inputs=inputs,
        options=options.stated(),
        forced=list(located.refusals),
    )


def read_summary(path: Path) -> ScanSummary:
    """Return the content of a scores JSON.

    Raises
    ------
    UnusableInput : if it cannot be read, or is no scores JSON of this schema.
    """
    try:
        return ScanSummary.model_validate_json(read_text(path, "scores").encode("utf-8", "surrogateescape"))
    except (ValidationError, UnicodeError, RecursionError) as error:
        raise UnusableInput(path, "expected the scores JSON of a scan, found something else; score it again") from error


def read_whole_summary(path: Path) -> ScanSummary | None:
    """Return the content of a scores JSON if each file that it names is there and unchanged, else None."""
    try:
        summary = read_summary(path)
    except UnusableInput:
        return None
    files = {path.parent / name: digest for name, digest in summary.files.items()}
    return summary if are_whole(files) else None


def _alignments(located: Located, model: Model) -> dict[str, list[list[float]]]:
    """Return where the mean brain lies in a scan, and the scan in MNI space; nothing where a warning says: not sure."""
    canonical, template = located.canonical, model.reference.get("template")
    if template is None or canonical.warnings:
        return {}
    pixel_mm = canonical.grid.pixel_mm
    template2ras = np.round(canonical.grid.affine @ np.linalg.inv(cube_affine(canonical.grid.shape[0], pixel_mm)), 6)
    ways = {"template2ras_mm": template2ras}
    if (template2mni := template2mni_mm(template, pixel_mm)) is not None:
        ways["ras2mni_mm"] = np.round(template2mni @ np.linalg.inv(template2ras), 6)
    return {name: way.tolist() for name, way in ways.items()}


def _with_percentiles(values: dict[str, float], quantiles: dict[str, list[float]] | None) -> dict[str, float | None]:
    percentiles = {
        f"{name}_percentile": healthy_percentile(value, quantiles[name]) if quantiles else None
        for name, value in values.items()
    }
    return {**values, **percentiles}
