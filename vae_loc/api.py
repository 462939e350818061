"""From Python: one scan in, its maps or findings out, by the model that the commands would choose."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from vae_loc.model.network import Model
from vae_loc.preprocessing.open_scan import Scan, open_scan
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.choose_model import choose_model
from vae_loc.scoring.locate import Located, accepted, locate
from vae_loc.scoring.segmentation import Segmentation, SegmentedMap
from vae_loc.scoring.segmentation import segment as segment_map
from vae_loc.vocabulary import BrainMask, Method, Polarity

if TYPE_CHECKING:
    from typing_extensions import Unpack


def localize(
    scan: str | Path,
    *,
    model: str | None = None,
    contrast: str | None = None,
    brain_mask: BrainMask | None = None,
    methods: Sequence[Method] = ("combi",),
    polarity: Polarity = "any",
    device: str = "cpu",
    force: bool = False,
) -> Located:
    """Return which voxels of a NIfTI scan a model of healthy brains finds improbable.

    Parameters
    ----------
    scan : a NIfTI file
    model : a shipped model's name or a .safetensors file; None chooses by `contrast`, name or intensities
    brain_mask : a mask file, `auto` or `none`; None takes the mask beside the scan where there is one, else `auto`
    methods : which maps
    polarity : `bright` or `dark` keeps only what is brighter or darker than expected
    force : whether to score a scan that does not look like a brain MRI; `refusals` of the result says why

    Returns
    -------
    `maps` : float32 arrays (I, J, K) on the scan's own grid, in robust standard deviations, 0 outside
    the brain; `brain`, `scores`, `warnings`. A model that has not changed is loaded once in a process.

    Raises
    ------
    UnusableInput, UnusableModel : as the commands would say in one line.
    """
    opened, chosen = _opened(scan, model, contrast, brain_mask, device)
    return accepted(locate(opened, chosen, methods=methods, polarity=polarity), force=force)


class Choices(TypedDict, total=False):
    """What `segment` takes as `localize` does."""

    model: str | None
    contrast: str | None
    brain_mask: BrainMask | None
    polarity: Polarity
    device: str
    force: bool


def segment(
    scan: str | Path,
    *,
    false_findings: float | None = None,
    threshold: float | None = None,
    fpr: float | None = None,
    min_size_mm3: float = 100.0,
    method: Method = "combi",
    **choices: Unpack[Choices],
) -> SegmentedMap:
    """Return the findings of a NIfTI scan, strongest first, and their mask; see `localize`.

    Parameters
    ----------
    false_findings : how many findings a healthy scan may be expected to have; 0.1 if no rule is given
    threshold, fpr : instead, a value of the map, or the share of healthy voxels beyond it
    min_size_mm3 : the smallest finding kept
    method : of which map
    choices : `model`, `contrast`, `brain_mask`, `polarity`, `device` and `force`, as `localize` takes them

    Returns
    -------
    `findings` : each with sign, strength, volume, peak, place and how many healthy scans have one as strong;
    `mask`, bool (I, J, K), and `numbers`, the number of each voxel's finding, on the scan's own grid.
    """
    if unknown := sorted(choices.keys() - Choices.__annotations__.keys()):
        raise TypeError(f"segment() got an unexpected keyword argument {unknown[0]!r}")
    device, polarity = choices.get("device", "cpu"), choices.get("polarity", "any")
    opened, chosen = _opened(scan, choices.get("model"), choices.get("contrast"), choices.get("brain_mask"), device)
    rule = Segmentation(threshold, fpr, false_findings, min_size_mm3)
    located = locate(opened, chosen, methods=[method], polarity=polarity)
    return segment_map(accepted(located, force=choices.get("force", False)), chosen, method, rule)


def _opened(
    scan: str | Path, model: str | None, contrast: str | None, brain_mask: BrainMask | None, device: str
) -> tuple[Scan, Model]:
    """Return a scan, and the model that the commands would choose for it."""
    (case,) = find_cases([Path(scan)])
    opened = open_scan(case, brain_mask=brain_mask)
    chosen, notes = choose_model(case, opened, name=model, contrast=contrast, device=device)
    for note in notes:
        logging.getLogger(__name__).warning(note)
    return opened, chosen
