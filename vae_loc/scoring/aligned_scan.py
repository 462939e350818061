"""A scan -> its brain on the canonical grid of a model, aligned as the model's healthy brains were."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from vae_loc.errors import UnusableInput, UnusableModel
from vae_loc.model.checkpoint import Checkpoint
from vae_loc.model.facts import Preprocessing
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import (
    BACKGROUND_SD,
    CLIP_SD,
    FIELD_OF_VIEW_MM,
    CanonicalVolume,
    smooth_brain,
    to_canonical,
    with_fine,
)
from vae_loc.preprocessing.open_scan import Scan, with_brain
from vae_loc.preprocessing.pose import ALIGNED_OUTLINE, outline_dice
from vae_loc.preprocessing.resampling import Grid
from vae_loc.system.blas_threads import one_blas_thread
from vae_loc.vocabulary import BoolArray, FloatArray

RAW_SMOOTHING_FWHM_MM = 6.0  # two canonical pixels: the same rule for all five bare maps (design [9])
PREPROCESSING = Preprocessing(  # of slices, as a model's facts state it
    field_of_view_mm=FIELD_OF_VIEW_MM,
    intensity="median-iqr",
    clip_sd=CLIP_SD,
    background_sd=BACKGROUND_SD,
    smoothing_fwhm_mm=RAW_SMOOTHING_FWHM_MM,
    pose="affine to template by Gauss-Newton",
    mask="without dark rim",
    normalisation="two scales, levelled, by place, by scan; log-normal KL-Grad",
)


def refuse_other_preprocessing(model: Checkpoint) -> None:
    """Refuse a model whose healthy brains were not prepared as brains are prepared here.

    Raises
    ------
    UnusableModel : if the model was trained on slices prepared in another way.
    """
    if model.facts.preprocessing != PREPROCESSING:
        raise UnusableModel(model.digest[:12], "was trained on slices prepared otherwise; train it again")


@one_blas_thread()
def canonical_of(scan: Scan, model: Model) -> CanonicalVolume:
    """Return a brain as the model's network expects it.

    Raises
    ------
    UnusableModel : if the model was trained on slices prepared in another way.
    """
    refuse_other_preprocessing(model.checkpoint)
    facts, template = model.facts, model.reference.get("template")

    def bring(mask: BoolArray, grid: Grid | None = None) -> CanonicalVolume:
        brain = smooth_brain(scan.volume, mask, image_size=facts.network.image_size)
        return with_fine(to_canonical(brain, contrast=facts.contrast, template=template, grid=grid), brain)

    canonical = bring(scan.brain)
    if template is not None and outline_dice(canonical.mask, template) < ALIGNED_OUTLINE:
        return _realigned(canonical, scan, template, bring)
    return canonical


def _realigned(
    canonical: CanonicalVolume, scan: Scan, template: FloatArray, bring: Callable[..., CanonicalVolume]
) -> CanonicalVolume:
    """Return a brain that did not fit the mean brain where its own extraction fits, or with a warning.

    A mask that leaves out the cerebellum, as many do, is drawn over the whole mean brain; the extracted brain is not.
    """
    if scan.brain_source == "file":
        with contextlib.suppress(UnusableInput):
            extracted = bring(with_brain(scan.volume, "auto").brain)
            if outline_dice(extracted.mask, template) >= ALIGNED_OUTLINE:
                known = bring(scan.brain, extracted.grid)
                said = "its mask lacks a part of the brain, which was extracted to align the scan; the mask is scored"
                return replace(known, warnings=(*known.warnings, said))
    said = "its outline differs from the model's mean brain: a part is missing, or it is not aligned well"
    return canonical if canonical.warnings else replace(canonical, warnings=(said,))
