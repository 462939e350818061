"""One scan -> the model that fits it -> anomaly maps on the scan's own grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput, UnusableModel, UnusableOption, printable
from vae_loc.model.checkpoint import shipped_models
from vae_loc.model.network import Model, load_model
from vae_loc.preprocessing.canonical import CanonicalVolume, all_from_canonical
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.preprocessing.robust_fit import SD_PER_MAD
from vae_loc.preprocessing.slices import from_slices, substantial, to_slices
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.scans.cases import Case, contrast_of
from vae_loc.scans.stated_contrast import CONTRASTS
from vae_loc.scans.volume import Volume
from vae_loc.scoring.aligned_scan import RAW_SMOOTHING_FWHM_MM, canonical_of
from vae_loc.scoring.learned_map import MIN_HOSTS, likeness_counts, likeness_of
from vae_loc.scoring.normalised_maps import Features, features_of, normalised_maps, with_polarity, z_by_place
from vae_loc.scoring.scan_gate import TissueFit, tissue_fit, verdict_on
from vae_loc.scoring.score_options import DEFAULTS, ScoreOptions
from vae_loc.scoring.slice_scores import score_slices
from vae_loc.system.blas_threads import one_blas_thread
from vae_loc.vocabulary import LEARNED, METHODS, BoolArray, FloatArray, Method

MAX_SPREAD = 1.5  # of the most unusual healthy scan's: beyond it, something else than a brain of this contrast
MAX_SYNTHESIZED_SPREAD = 3.5  # where healthy scans were made from T1: real ones reach 1.8 (one, cut off, 3.1)
ATLAS = "t1"  # the shipped model whose mean brain is compared with a scan of unknown contrast


@dataclass(frozen=True)
class SampleScores:
    """Rec, KL and ELBO (= KL + Rec, the negative ELBO) of S slices and of the volume, in nats.

    The volume's are means over the slices with enough brain (`counted`).
    """

    positions_mm: NDArray[np.float64]
    counted: BoolArray
    slices: dict[str, NDArray[np.float64]]
    volume: dict[str, float]


@dataclass(frozen=True)
class CanonicalScores:
    """The network's output for a brain on the canonical grid.

    Attributes
    ----------
    raw_maps : float32 (I, I, I), the bare scores of each method, smoothed over the brain, with the sign of the residual
    features : the sources of the normalised maps
    reconstruction : float32 (I, I, I), g(mu)
    """

    raw_maps: dict[Method, FloatArray]
    features: Features
    reconstruction: FloatArray
    samples: SampleScores


@dataclass(frozen=True)
class Located:
    """The anomaly maps of one scan.

    Attributes
    ----------
    scan : the scan and its brain
    canonical : the brain as the network saw it
    signed_maps, signed_raw_maps : float32, the normalised and the bare maps, > 0 where brighter and < 0 where darker
        than expected; 0 where not of the polarity that was asked for. On the canonical grid, (I, I, I), or on that of
        half its pixel, (2I, 2I, 2I)
    scores : sample-wise scores
    reconstruction : float32 (I, I, I), g(mu) on the canonical grid
    warnings : what the user should know, one line each
    bare : whether `maps` are the bare scores
    refusals : why the scan should not have been scored (`scan_gate`), one sentence each; they are warnings too
    likeness : float32, the magnitudes of the learned map on the grid of Combi's, where they count for its strengths

    The maps on the scan's own grid are made when they are first asked for.
    """

    scan: Scan
    canonical: CanonicalVolume
    signed_maps: dict[Method, FloatArray]
    signed_raw_maps: dict[Method, FloatArray]
    scores: SampleScores
    reconstruction: FloatArray
    warnings: tuple[str, ...]
    bare: bool = False
    refusals: tuple[str, ...] = ()
    likeness: FloatArray | None = None

    @property
    def volume(self) -> Volume:
        """The scan as read from disk."""
        return self.scan.volume

    @property
    def brain(self) -> BoolArray:
        """The brain mask, bool (I, J, K) on the scan's own grid."""
        return self.scan.brain

    @cached_property
    def maps(self) -> dict[Method, FloatArray]:
        """Float32 (I, J, K) >= 0 on the scan's own grid for each method, zero outside the brain."""
        return self._on_grid(self.signed_maps)

    @cached_property
    def raw_maps(self) -> dict[Method, FloatArray]:
        """The bare scores, float32 (I, J, K) >= 0 on the scan's own grid for each method, zero outside the brain."""
        return self._on_grid(self.signed_raw_maps)

    def frame(self, method: Method) -> CanonicalVolume:
        """Return the brain on the grid of a signed map."""
        of = self.canonical
        return of if self.signed_maps[method].shape == of.mask.shape else of.halved

    def _on_grid(self, maps: dict[Method, FloatArray]) -> dict[Method, FloatArray]:
        magnitudes = [np.abs(values) for values in maps.values()]
        on_grid = all_from_canonical(magnitudes, self.canonical, self.volume.affine, self.brain)
        return dict(zip(maps, on_grid, strict=True))


def choose_model(case: Case, scan: Scan, options: ScoreOptions) -> tuple[Model, tuple[str, ...]]:
    """Return the model for a scan, and what the user should know of the choice.

    The model of the options decides, then the contrast: of the case, else of the options, of the file's name, or of
    the intensities.

    Raises
    ------
    UnusableModel : if no shipped model is of this contrast, or the model cannot be used.
    """
    if options.model is not None:
        return load_model(options.model, options.device), ()
    notes: tuple[str, ...] = ()
    wanted = case.contrast or options.contrast or contrast_of(case.scan)
    if wanted is None:
        wanted = contrast_by_intensities(scan)
        notes = (taken_by_intensities(case, wanted),)
    known = shipped_models()
    if wanted not in known:
        raise UnusableModel(
            wanted, f"expected a contrast of a shipped model ({', '.join(known)}); give a model with -m"
        )
    return load_model(wanted, options.device), notes


def as_stated(case: Case, scan: Scan, model: Model, *, force: bool) -> Scan:
    """Return the scan with warnings where its header or name contradicts the model that is to score it.

    Raises
    ------
    UnusableInput : if it is an image of another kind than T1, T2 or FLAIR, by its header or name, and is not forced.
    """
    stated, contrast = case.stated, model.facts.contrast
    if contrast not in CONTRASTS:  # a user's own model, of whatever it was trained on
        return scan
    if (refusal := stated.refusal()) and not force:
        raise UnusableInput(case.scan, refusal)
    warnings = (*scan.volume.warnings, *stated.warnings(contrast))
    return replace(scan, volume=replace(scan.volume, warnings=warnings))


def taken_by_intensities(case: Case, contrast: str) -> str:
    """Say that a scan was taken for one of a contrast because nothing states it."""
    return (
        f"{printable(case.scan)}: neither its name nor --contrast states the contrast; by its intensities it was taken "
        f"for {contrast}. If that is wrong, give --contrast"
    )


def contrast_by_intensities(scan: Scan) -> str:
    """Return t1, t2 or flair: what a scan is by its intensities, after it was aligned to the mean T1 brain."""
    atlas = load_model(ATLAS)
    return tissue_fit(canonical_of(scan, atlas), atlas.reference["template"]).contrast


@one_blas_thread()
def locate(scan: Scan, model: Model, options: ScoreOptions = DEFAULTS) -> Located:
    """Score one scan.

    Raises
    ------
    UnusableModel : if the model was trained on slices prepared in another way, or lacks the healthy values of a map.
    UnusableOption : if bare scores of a map are asked for that is not the paper's.
    UnusableInput : if the brain is too small, or of one intensity, or if the scan is no brain MRI and not forced.
    """
    for method in (of for of in options.methods if of not in METHODS):
        _refuse_unknown(method, model, bare=options.raw)
    # the brain as the model knows brains, unless it is none
    canonical = canonical_of(scan, model)
    verdict = verdict_on(scan, canonical, model, force=options.force)
    # the paper's bare scores, then what is unusual for the place and the scan
    scores = score_canonical(canonical, model, options.methods)
    reference, modes, contrast = model.reference, model.checkpoint.modes, model.facts.contrast
    judge = model.checkpoint.judge
    counts = not options.raw and any(likeness_counts(of, model.facts) for of in options.methods)
    needed = list(dict.fromkeys([*options.methods, *([LEARNED] if counts else [])]))
    signed = normalised_maps(scores.features, canonical.mask, reference, needed, modes, contrast=contrast, judge=judge)
    likeness = likeness_of(signed, "combi", model.facts)
    maps, raw_maps = (
        {method: with_polarity(of[method], options.polarity) for method in options.methods if method in of}
        for of in (signed or scores.raw_maps, scores.raw_maps)
    )
    unlike = _unlike_healthy(scores.features, canonical, model, verdict.tissue)
    return Located(
        scan=scan,
        canonical=canonical,
        signed_maps=raw_maps if options.raw else maps,
        signed_raw_maps=raw_maps,
        scores=scores.samples,
        reconstruction=scores.reconstruction,
        warnings=scan.volume.warnings + canonical.warnings + verdict.refusals + verdict.warnings + unlike,
        bare=options.raw,
        refusals=verdict.refusals,
        likeness=likeness,
    )


def _refuse_unknown(method: Method, model: Model, *, bare: bool) -> None:
    """Raise if a map that is not the paper's is asked for as a bare score, or of a model that does not have it."""
    if bare:
        raise UnusableOption("--raw", f"expected a map of the paper, got --method {method}, which is no bare score")
    if model.facts.healthy is None or method not in model.facts.healthy.maps:
        mend = "calibrate it anew with `vae-loc calibrate --healthy`"
        if method == LEARNED:
            mend = f"a model learns it from {MIN_HOSTS} healthy people that are new to it"
        raise UnusableModel(
            model.digest[:12], f"has no healthy statistics of {method}; {mend}; else choose another --method"
        )


def score_canonical(canonical: CanonicalVolume, model: Model, methods: Sequence[Method]) -> CanonicalScores:
    """Score a brain on the canonical grid: bare maps, smoothed by the one rule for all, and features."""
    stack = to_slices(canonical)
    scores = score_slices(model, stack, methods)

    def smooth(values: FloatArray) -> FloatArray:
        brain = from_slices(values, stack, canonical)
        return smoothed(brain, canonical.mask, canonical.grid.pixel_mm, RAW_SMOOTHING_FWHM_MM)

    # bare maps
    sign = np.sign(smooth(scores.fields["residual"]))
    raw_maps = {method: smooth(scores.map(method)) * sign for method in methods if method in METHODS}
    # features of the normalised maps
    fields = {name: from_slices(values, stack, canonical) for name, values in scores.fields.items()}
    features = features_of(fields, canonical, curve=model.facts.training.synthesized_from is not None)
    # sample-wise scores; those of the volume are means over the slices with enough brain
    counted = substantial(stack)
    slices = {"rec": scores.rec, "kl": scores.kl, "elbo": scores.kl + scores.rec}
    volume = {name: float(values[counted].mean()) for name, values in slices.items()}
    samples = SampleScores(stack.positions_mm, counted, slices, volume)
    return CanonicalScores(raw_maps, features, canonical.data - fields["residual"], samples)


def spread_of(features: Features, mask: BoolArray, reference: Mapping[str, FloatArray]) -> float:
    """Return the spread of a brain's voxels about healthy brains: 1.4826 MAD of (u - mean u) / sd u, 1 in these."""
    z, known = z_by_place(features["residual"], mask, reference["residual.mean"], reference["residual.sd"])
    inside = z[known]
    return float(SD_PER_MAD * np.median(np.abs(inside - np.median(inside)))) if inside.size else 0.0


def _unlike_healthy(
    features: Features, canonical: CanonicalVolume, model: Model, tissue: TissueFit | None
) -> tuple[str, ...]:
    """Return a warning for a scan that is none of the model's kind: by its tissues, or by its typical voxel.

    Values of other scanners and contrasts are in docs/measured/scan-gate.md.
    """
    healthy, contrast, source = model.facts.healthy, model.facts.contrast, model.facts.training.synthesized_from
    if healthy is None:
        return ()
    ratio = spread_of(features, canonical.mask, model.reference) / max(1.0, healthy.spread[-1])
    # the tissues tell T1 from all else; they are a T1 brain's, so only models of T1 or made from it are asked
    looks = None if tissue is None or "t1" not in (contrast, source) else tissue.contrast
    if looks is not None and (looks == "t1") != (contrast == "t1"):
        said = f"its tissues look like {looks}, the model is of {contrast}"
    elif ratio > (MAX_SPREAD if source is None else MAX_SYNTHESIZED_SPREAD):
        said = f"the whole brain differs from healthy {contrast} scans, {ratio:.1f} times as much as any of the model's"
    else:
        return ()
    return (f"{said}: another contrast, no brain, or a bad brain mask; do not trust map and findings",)
