"""From Python: scans in, their maps or findings out, by the model that the commands would choose."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict, overload

from nibabel.spatialimages import SpatialImage

from vae_loc.errors import UnusableInput, UnusableOption
from vae_loc.preprocessing.open_scan import counting_mask, with_brain
from vae_loc.results.interactive.scan_result import ScanResult
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scans.image_in_memory import NAMELESS, image_volume, name_of
from vae_loc.scans.volume import read_volume, stem
from vae_loc.scoring.locate import as_stated, choose_model, locate
from vae_loc.scoring.score_options import ScoreOptions, brain_mask_of
from vae_loc.scoring.segmentation import SegmentedMap
from vae_loc.vocabulary import BrainMask, Method, Polarity

if TYPE_CHECKING:
    from typing_extensions import Unpack

    OneScan = str | Path | SpatialImage


class Choices(TypedDict, total=False):
    """Options of `localize` besides scans and maps, with the same meaning."""

    model: str | Path | None
    contrast: str | None
    brain_mask: BrainMask | str | None
    polarity: Polarity
    device: str
    force: bool


@overload
def localize(  # type: ignore[overload-overlap]  # a str is an iterable of str, and means a file here
    scan: OneScan, *, methods: Sequence[Method] = ..., **choices: Unpack[Choices]
) -> ScanResult: ...
@overload
def localize(
    scan: Iterable[OneScan], *, methods: Sequence[Method] = ..., **choices: Unpack[Choices]
) -> list[ScanResult]: ...
def localize(
    scan: OneScan | Iterable[OneScan],
    *,
    model: str | Path | None = None,
    contrast: str | None = None,
    brain_mask: BrainMask | str | None = None,
    methods: Sequence[Method] = ("combi",),
    polarity: Polarity = "any",
    device: str = "cpu",
    force: bool = False,
) -> ScanResult | list[ScanResult]:
    """Return which voxels of a scan a model of healthy brains finds improbable; of several scans, a list.

    Parameters
    ----------
    scan : a NIfTI file, a nibabel image in memory, or several of them
    model : a shipped model's name or a .safetensors file; None chooses by `contrast`, name or intensities
    contrast : `t1`, `t2` or `flair`
    brain_mask : a mask file, `auto` or `none`; None takes the mask beside the scan where there is one, else `auto`
    methods : which maps
    polarity : `bright` or `dark` keeps only what is brighter or darker than expected
    device : `cpu`, `cuda`, `mps` or `auto`
    force : whether to score a scan that does not look like a brain MRI; `refusals` of the result says why

    Returns
    -------
    The result of each scan: `findings`, `maps` (float32 (I, J, K) on the scan's own grid), `warnings`, `scores`,
    `brain`, and the functions `mask`, `segment`, `plot` and `save`. A model that has not changed is read once in a
    process.

    Raises
    ------
    UnusableInput, UnusableModel, UnusableOption : as the commands would say in one line. The first of several scans
        that cannot be used ends the call.

    An image that was loaded from a file goes by that file's name, for contrast, brain mask and outputs.
    """
    options = ScoreOptions(
        methods=methods,
        model=None if model is None else str(model),
        contrast=contrast,
        brain_mask=brain_mask_of(brain_mask),
        polarity=polarity,
        device=str(device),
        force=force,
    )
    if isinstance(scan, (str, Path, SpatialImage)) or not isinstance(scan, Iterable):
        return _localized(scan, options)
    return [_localized(one, options) for one in scan]


def segment(
    scan: OneScan,
    *,
    false_findings: float | None = None,
    threshold: float | None = None,
    fpr: float | None = None,
    min_size_mm3: float = 100.0,
    method: Method = "combi",
    **choices: Unpack[Choices],
) -> SegmentedMap:
    """Return the findings of one scan, strongest first, and their mask; see `localize`.

    Parameters
    ----------
    false_findings : how many findings a healthy scan may be expected to have; `default_rate` if no rule is given
    threshold, fpr : instead, a value of the map, or the share of healthy voxels beyond it
    min_size_mm3 : the smallest finding kept
    method : of which map
    choices : `model`, `contrast`, `brain_mask`, `polarity`, `device` and `force`, as `localize` takes them

    Returns
    -------
    `findings` : each with sign, strength, volume, peak, place and how many healthy scans have one as strong;
    `mask`, bool (I, J, K), and `numbers`, the number of each voxel's finding, on the scan's own grid. What
    `localize` gives as warnings is logged.
    """
    found = localize(scan, methods=[method], **choices)
    for warning in found.located.warnings:  # the notes are logged already
        logging.getLogger(__name__).warning("%s: %s", found.case.scan, warning)
    return found.segment(method, false_findings=false_findings, threshold=threshold, fpr=fpr, min_size_mm3=min_size_mm3)


def _localized(scan: OneScan, options: ScoreOptions) -> ScanResult:
    """Return the result of one scan; notes on the choice of its model are logged."""
    if not isinstance(scan, (str, Path, SpatialImage)):
        need = "expected a file, a nibabel image, or a list of these"
        raise UnusableOption("scan", f"{need}, got {type(scan).__name__}; nibabel.Nifti1Image holds array and affine")
    # an image that was loaded from a file goes by that file's name
    path = name_of(scan) if isinstance(scan, SpatialImage) else Path(scan)
    nameless = isinstance(scan, SpatialImage) and path == NAMELESS
    cases = [Case(path, stem(path), None)] if nameless else find_cases([path])
    if len(cases) != 1:
        raise UnusableInput(path, f"expected one scan, found {len(cases)}; give a list of their files")
    (case,) = cases
    volume = image_volume(scan) if isinstance(scan, SpatialImage) else read_volume(case.scan)
    opened = with_brain(volume, counting_mask(case, options.brain_mask))
    model, notes = choose_model(case, opened, options)
    located = locate(as_stated(case, opened, model, force=options.force), model, options)
    for note in notes:
        logging.getLogger(__name__).warning(note)
    return ScanResult(case, options, located, model, notes, in_memory=isinstance(scan, SpatialImage))
