"""Whether a scan is a brain that the model can be asked about: fine, with a warning, or refused.

The values of scans at hand are in docs/measured/scan-gate.md. The checks use only quantities computed for scoring: the
brain, its alignment, and its detail. A refusal is for what no adult's brain reaches; a warning for what may be one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vae_loc.errors import UnusableInput
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import CanonicalVolume, smooth_brain, standardized, to_canonical
from vae_loc.preprocessing.open_scan import Scan
from vae_loc.preprocessing.pose import (
    BRAIN_OFFSET,
    MAX_OUTLINE_LOSS,
    MIN_OUTLINE_GAIN,
    NO_OUTLINE,
    POOR_OUTLINE,
    TURNED_OUTLINE,
    cut_faces,
    outline_dice,
)
from vae_loc.preprocessing.regions import bounding_box
from vae_loc.preprocessing.robust_fit import FIELD_CUT_SD, SD_PER_MAD, robust_fit
from vae_loc.preprocessing.smoothing import smoothed
from vae_loc.scans.voxels import BRAIN_RANGE_ML, equal_share, looks_like_ct
from vae_loc.vocabulary import BoolArray, FloatArray

POSSIBLE_ML = (100.0, 3000.0)  # of a brain mask: refused beyond, warned about beyond `BRAIN_RANGE_ML`
STATISTICS, LABELS = range(2, 25), (1002, 1003)  # intent codes of NIfTI-1: t, F, z, p; a label, a region's name
MAX_EQUAL_SHARE = 0.5  # of neighbouring voxels that are equal: scans of 8 bits .09 at most, label maps .76 and more
MAX_LABELS = 1024  # values in a label map
MAX_CUTS = 2  # faces of a part of a brain that are cut straight; a block has six
POOR_MATCH = 0.19  # correlation of the detail, below which the outline must be a brain's: fruit .18
CLEAR_MATCH = 0.3  # correlation of the detail with that of two tissues, from which on no more is asked
NO_MATCH = 0.1  # of the detail, with any of the mean brain or with its mirror image: noise .09, real scans .18
MAX_NEGATIVE_SHARE, SIGNED_MATCH = 0.1, 0.13  # of a brain's voxels, of the detail: statistics, z-map .53 and .10
KNOTS_PERCENT = (2, 15, 30, 45, 60, 75, 90, 98)  # of the mean brain's intensities, of the curve that is fitted
MAX_ZOOM_RATIO = 1.25  # of two axes, beyond which other poses are tried
MIN_MATCH_GAIN = 1.3  # factor of the detail's correlation that another pose must gain to be the right one
CLEAR_MATCH_GAIN = 1.6  # that is enough by itself, where an extracted mask fits any pose: heads upside down 1.9 to 5
MAX_QUARTER_TURNS = 2  # that are tried
SHARP_FWHM_MM = (4.0, 8.0)
MIN_SHARPNESS = 0.88  # of the mean brain's own, which is blurred: real scans 1.08 and more, blurred by 8 mm .87
DETAIL_FWHM_MM = (4.0, 24.0)  # between noise and shading
GREY_SD = -0.5  # of the mean T1 brain: fluid lies below, white matter above
CLEAR_CONTRAST = 1 / 3  # of T1's own
MIDDLE_PERCENT = (30, 90)  # of a brain's intensities: neither FLAIR's dark fluid nor bright lesions
TISSUE_FWHM_MM = (4.0, 12.0)  # detail of grey beside white matter; that of a large lesion is wider
CLEAR_WHITE = 0.2  # slope of white matter: real T1 scans .31 and more, FLAIR .04 and less, T2 below -.18


class Turn(NamedTuple):
    """A turn of a brain by quarters: the axis that each axis comes from, its sign, and the pose that it mends."""

    axes: tuple[int, ...]
    signs: tuple[int, ...]
    pose: str


HALF_TURNS = (Turn((0, 1, 2), (-1, 1, -1), "upside down"), Turn((0, 1, 2), (-1, -1, 1), "mirrored front to back"),
              Turn((0, 1, 2), (1, -1, -1), "turned over"))  # fmt: skip
QUARTER_TURNS = tuple(
    Turn(axes, signs, "on its side, or its axes permuted")
    for axes in itertools.permutations(range(3))
    for signs in itertools.product((1, -1), repeat=3)
    if axes != (0, 1, 2) and np.linalg.det(np.eye(3)[list(axes)] * np.array(signs)[:, None]) > 0
)


@dataclass(frozen=True)
class TissueFit:
    """How a brain's detail follows that of two tissues of the mean T1 brain.

    Attributes
    ----------
    fluid, white : slopes of the detail on that of fluid, and of white matter, beside grey matter
    middle_white : slope of the fine detail on that of white matter, among voxels of middle intensity
    match : correlation of the fit with the detail, 0 to 1
    """

    fluid: float
    white: float
    middle_white: float
    match: float

    @property
    def contrast(self) -> str:
        """The contrast: white matter is bright in T1, fluid dark or the tissues alike only in FLAIR."""
        if self.middle_white > CLEAR_WHITE:
            return "t1"
        return "t2" if self.fluid + self.white < -CLEAR_CONTRAST else "flair"


@dataclass(frozen=True)
class Verdict:
    """The reasons against a scan.

    Attributes
    ----------
    refusals : why it is not scored, unless that is forced; a sentence each
    warnings : what the user should know; a sentence each
    tissue : the fit of its tissues to the mean brain's; None for a model without a mean brain
    """

    refusals: tuple[str, ...]
    warnings: tuple[str, ...]
    tissue: TissueFit | None


def verdict_on(scan: Scan, canonical: CanonicalVolume, model: Model, *, force: bool) -> Verdict:
    """Return the verdict on a scan that was brought onto the model's canonical grid.

    Raises
    ------
    UnusableInput : with the refusals, and how to have the scan scored all the same; never if that is forced.
    """
    refusals, warnings, tissue = [*_of_another_kind(scan)], [], None
    low, high = BRAIN_RANGE_ML
    if not POSSIBLE_ML[0] <= scan.brain_ml <= POSSIBLE_ML[1]:
        refusals.append(f"its brain mask holds {scan.brain_ml:.3g} ml; brains have {low:g} to {high:g} ml")
    elif not low <= scan.brain_ml <= high:
        warnings.append(f"its brain mask holds {scan.brain_ml:.0f} ml; brains of adults have {low:g} to {high:g} ml")
    if (template := model.reference.get("template")) is not None:
        tissue = tissue_fit(canonical, template)
        outline = outline_dice(canonical.mask, template)
        without = _without_anatomy(scan, canonical, template, outline, tissue)
        # a brain in a wrong pose may lack the mean brain's detail too
        posed = None if refusals or outline < NO_OUTLINE else _posed(scan, canonical, model, outline)
        refusals += [posed] if posed else without
        if model.facts.contrast == tissue.contrast == "t1" and tissue.match < CLEAR_MATCH:
            warnings.append(f"its detail is hardly that of a human adult's T1 (correlation {tissue.match:.2f})")
        if sharpness(canonical.data, canonical, template) < MIN_SHARPNESS * sharpness(template, canonical, template):
            warnings.append("it is blurred beyond what the model knows: findings may be missed")
    if refusals and not force:
        said = f"expected a brain MRI, but {'; '.join(refusals)}; check the file, or give --force to score it"
        raise UnusableInput(scan.volume.path, said)
    return Verdict(tuple(refusals), tuple(warnings), tissue)


def _of_another_kind(scan: Scan) -> Iterator[str]:
    """Yield why a file is no MR image: by its header's intent, or by its values."""
    intent = int(scan.volume.header["intent_code"])
    if intent in STATISTICS or intent in LABELS:
        kind = "statistics" if intent in STATISTICS else "labels"
        yield f"its header says that it is a map of {kind} (intent code {intent})"
    if looks_like_ct(scan.volume.data):
        yield "its intensities look like CT (air near -1000); the models are for MRI"
    box = bounding_box(scan.brain)
    data, brain = scan.volume.data[box], scan.brain[box]
    if equal_share(data, brain) > MAX_EQUAL_SHARE:
        values, counts = np.unique(data[brain], return_counts=True)
        shown = brain & (data != values[counts.argmax()])  # a wide mask holds background
        whole = len(values) <= MAX_LABELS and np.array_equal(values, np.round(values))
        if whole and equal_share(data, shown) > MAX_EQUAL_SHARE:
            yield f"it looks like a map of {len(values)} labels: most neighbouring voxels are equal"


def _without_anatomy(
    scan: Scan, canonical: CanonicalVolume, template: FloatArray, outline: float, tissue: TissueFit
) -> tuple[str, ...]:
    """Return why what was aligned is no brain: its outline or detail; half a brain lacks both, but is cut straight."""
    part = 0 < int(cut_faces(scan.brain).sum()) <= MAX_CUTS
    if outline < NO_OUTLINE and not part:
        return (f"its brain mask does not have the shape of a brain (Dice {outline:.2f} with the mean brain)",)
    if tissue.match >= CLEAR_MATCH:
        return ()
    match = anatomy_match(canonical, template)
    if outline < POOR_OUTLINE and match < POOR_MATCH and not part:
        return (f"neither its shape nor its detail is that of a brain (Dice {outline:.2f}, correlation {match:.2f})",)
    if match < SIGNED_MATCH and np.mean(scan.volume.data[scan.brain] < 0) > MAX_NEGATIVE_SHARE and not part:
        return (f"it has values of both signs and not the detail of a brain (correlation {match:.2f}): statistics?",)
    if max(match, symmetry(canonical)) < NO_MATCH and not part:
        return (f"its detail is not that of a brain (correlation {match:.2f} with the mean brain): noise?",)
    return ()


def anatomy_match(canonical: CanonicalVolume, template: FloatArray) -> float:
    """Return the correlation, 0 to 1, of a brain's detail with that of any curve of the mean brain's intensities."""
    mask = canonical.mask & (template > BRAIN_OFFSET)
    mean = standardized(template, mask)
    knots = np.percentile(mean[mask], KNOTS_PERCENT)
    steps = np.eye(len(knots))
    columns = [detail_of(np.interp(mean, knots, step).astype(np.float32), mask, canonical) for step in steps]
    # the detail is cut at three robust standard deviations, so that a lesion has little influence
    detail = detail_of(canonical.data, mask, canonical)
    middle = np.median(detail)
    reach = 3 * SD_PER_MAD * np.median(np.abs(detail - middle))
    terms, goal = np.column_stack(columns), np.clip(detail, middle - reach, middle + reach)
    return correlation(terms @ np.linalg.lstsq(terms, goal, rcond=None)[0], goal)


def symmetry(canonical: CanonicalVolume) -> float:
    """Return the correlation, -1 to 1, of a brain's detail with that of its own mirror image, left to right."""
    both = canonical.mask & canonical.mask[::-1]
    detail = np.zeros(both.shape)
    detail[canonical.mask] = detail_of(canonical.data, canonical.mask, canonical)
    return correlation(detail[both], detail[::-1][both])


def sharpness(values: FloatArray, canonical: CanonicalVolume, template: FloatArray) -> float:
    """Return the spread of detail below 4 mm relative to that of 4 to 8 mm, of values (I, I, I) in both brains."""
    mask = canonical.mask & (template > BRAIN_OFFSET)
    fine, coarse = (smoothed(values, mask, canonical.grid.pixel_mm, fwhm_mm) for fwhm_mm in SHARP_FWHM_MM)
    return float(np.std((values - fine)[mask]) / max(1e-6, float(np.std((fine - coarse)[mask]))))


def _posed(scan: Scan, canonical: CanonicalVolume, model: Model, outline: float) -> str | None:
    """Return in which pose a brain is that fits the mean brain better in another one, or None."""
    zooms = np.linalg.svd(canonical.grid.affine[:3, :3], compute_uv=False)
    if outline >= TURNED_OUTLINE and zooms.max() <= MAX_ZOOM_RATIO * zooms.min():
        return None
    template, contrast = model.reference["template"], model.facts.contrast
    own = anatomy_match(canonical, template)
    brain = smooth_brain(scan.volume, scan.brain, image_size=model.facts.network.image_size)
    half_turns = [turn for turn in HALF_TURNS if outline - _turned_dice(canonical, turn, template) <= MAX_OUTLINE_LOSS]
    # of the many quarter turns, those that make the brain fit best before it is aligned
    bare = to_canonical(brain, contrast=contrast)
    turns = () if cut_faces(scan.brain).any() else QUARTER_TURNS  # a part of a brain fits many
    quarter_turns = sorted(turns, key=lambda turn: -_turned_dice(bare, turn, template))[:MAX_QUARTER_TURNS]
    for turn in (*half_turns, *quarter_turns):
        # turned about its middle
        about = np.eye(4)
        about[:3, :3] = np.eye(3)[list(turn.axes)] * np.array(turn.signs)[:, None]
        about[:3, 3] = brain.centre_mm - about[:3, :3] @ brain.centre_mm
        turned = to_canonical(replace(brain, affine=about @ brain.affine), contrast=contrast, template=template)
        gained = outline_dice(turned.mask, template) - outline
        match = anatomy_match(turned, template) if gained >= 0 else 0.0
        fits = gained >= MIN_OUTLINE_GAIN and match >= max(NO_MATCH, MIN_MATCH_GAIN * own)
        if fits or match >= max(POOR_MATCH, CLEAR_MATCH_GAIN * own):
            better = f"Dice {gained:+.2f}, correlation {own:.2f} -> {match:.2f}"
            return f"its header places the brain {turn.pose}: turned, it fits the mean brain better ({better})"
    return None


def _turned_dice(canonical: CanonicalVolume, turn: Turn, template: FloatArray) -> float:
    """Return the outline of a brain that is turned as it is, without being aligned anew."""
    turned = canonical.mask.transpose(turn.axes)[tuple(np.s_[::sign] for sign in turn.signs)]
    return outline_dice(turned, template)


def tissue_fit(canonical: CanonicalVolume, template: FloatArray) -> TissueFit:
    """Return the fit of a brain's detail by that of fluid and white matter.

    Parameters
    ----------
    canonical : the brain, aligned to `template`
    template : float32 (I, I, I), the mean T1 brain, which says where fluid and white matter lie

    The detail of the brain is fitted by that of both, robustly, so that shading and lesions have no say. Beside grey
    matter, white matter is much brighter only in T1, and fluid much darker or the tissues alike only in FLAIR. On
    FLAIR, sulci darken grey matter and lesions brighten white matter: middle intensities are fitted by themselves.
    """
    mask = canonical.mask & (template > BRAIN_OFFSET)
    mean = standardized(template, mask)
    parts = (np.minimum(mean, GREY_SD), np.maximum(mean, GREY_SD))
    tissues = np.column_stack([detail_of(part, mask, canonical) for part in parts])
    detail = detail_of(canonical.data, mask, canonical)
    slopes = robust_fit(tissues, detail, cut_sd=FIELD_CUT_SD)
    # white beside grey matter, without fluid and lesions
    inside = canonical.data[mask]
    low, high = np.percentile(inside, MIDDLE_PERCENT)
    middle = (inside >= low) & (inside <= high)
    *fine, goal = (detail_of(of, mask, canonical, TISSUE_FWHM_MM)[middle] for of in (*parts, canonical.data))
    white = robust_fit(np.column_stack(fine), goal, cut_sd=FIELD_CUT_SD)[1]
    return TissueFit(float(slopes[0]), float(slopes[1]), float(white), correlation(tissues @ slopes, detail))


def correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the correlation of two arrays (N,), -1 to 1; 0 where one is constant."""
    spread = float(np.std(first) * np.std(second))
    return float(np.mean((first - first.mean()) * (second - second.mean())) / spread) if spread > 0 else 0.0


def detail_of(
    values: FloatArray, mask: BoolArray, canonical: CanonicalVolume, fwhms_mm: tuple[float, float] = DETAIL_FWHM_MM
) -> NDArray[np.float64]:
    """Return the detail of values (I, I, I) between two widths, float64 (N,), in the N voxels of a mask."""
    fine, coarse = (smoothed(values, mask, canonical.grid.pixel_mm, fwhm_mm) for fwhm_mm in fwhms_mm)
    return (fine - coarse)[mask].astype(np.float64)
