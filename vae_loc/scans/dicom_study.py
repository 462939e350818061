"""The series of a DICOM study that are scored: the best of each contrast, or the one that is asked for.

Names of patients are neither printed nor kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from vae_loc.errors import UnusableInput, printable
from vae_loc.scans.dicom_headers import MR, UNKNOWN_MODALITIES, Series, all_series
from vae_loc.scans.stated_contrast import CONTRASTS

MAX_LISTED, MAX_NAMED = 100, 8  # series, and volumes of one


def best_series(source: Path, wanted: str | None = None, *, contrast: str | None = None) -> list[Series]:
    """Return the best MR volume of each contrast in a folder or zip, of one contrast, or the series `wanted`.

    The best has no contrast agent, then is 3-D, then has the thinnest slices. Others are logged, each with the reason.

    Raises
    ------
    UnusableInput : if there is none, or there are several and nothing tells which is meant.
    """
    series = all_series(source)
    if not series:
        raise UnusableInput(source, "expected a DICOM series of images, found none")
    if wanted is not None:
        return [_only(source, [one for one in series if wanted in (one.uid, one.base_uid)], series, wanted)]
    usable = [one for one in series if one.volume and one.modality in (MR, *UNKNOWN_MODALITIES)] or series
    usable = [one for one in usable if one.stated.other is None] or usable
    usable = [one for one in usable if one.stated.contrast == contrast] or usable if contrast else usable
    best = []
    for name in CONTRASTS:
        of = sorted((one for one in usable if one.stated.contrast == name), key=lambda one: one.rank)
        if of:  # of equal ones the first series, but never an echo or phase of one by chance
            first = [one for one in of if (one.rank, one.base_uid) == (of[0].rank, of[0].base_uid)]
            best.append(_only(source, first, series))
    best = best or [_only(source, usable, series)]
    why = "only one that fits was" if len(usable) == 1 else "best of each contrast were"
    said = [f"{source}: of {len(series)} series the {why} taken: {'; '.join(one.described for one in best)}"]
    others = [one for one in series if one not in best][:MAX_LISTED]
    said += [f"  left out: {one.described}: {_reason(one, contrast)}" for one in others]
    for line in [*(said if len(series) > 1 else []), *(f"{source}: {one.note}" for one in best if one.note)]:
        logging.getLogger(__name__).warning(printable(line))
    return best


def _reason(series: Series, wanted: str | None) -> str:
    """Return why a series was not taken, in words."""
    stated = series.stated
    if series.modality not in (MR, *UNKNOWN_MODALITIES):
        return f"its modality is {series.modality}"
    if not series.volume or stated.other or stated.contrast is None:
        return stated.other or ("its contrast is not stated" if series.volume else "no volume of slices")
    agent = f" a contrast agent ({stated.agent})," if stated.agent else ""
    best = f"not the best {stated.contrast}:{agent} fewer dimensions, thicker slices, or a repetition"
    return best if wanted in (None, stated.contrast) else f"no {wanted}"


def _only(source: Path, chosen: Sequence[Series], series: Sequence[Series], wanted: str | None = None) -> Series:
    """Return the one series that is chosen; refuse several or none, list all, and state how to choose."""
    if len(chosen) == 1:
        return chosen[0]
    if len({one.base_uid for one in chosen}) == 1:
        apart = ", ".join(one.uid.partition("#")[2] for one in chosen[:MAX_NAMED])
        said = f"series {chosen[0].base_uid} holds {len(chosen)} volumes, told apart by {apart}"
        raise UnusableInput(source, f"{said}; choose one with --series '{chosen[-1].uid}'")
    log, width = logging.getLogger(__name__), max(len(one.uid) for one in series)
    for one in series[:MAX_LISTED]:
        log.error(printable(f"{one.uid:<{width}}  {one.stated.contrast or '?':<5}  {one.described}"))
    if len(series) > MAX_LISTED:
        log.error("and %d more", len(series) - MAX_LISTED)
    if wanted is not None:
        raise UnusableInput(source, f"holds no series {wanted}; it holds {len(series)} others, listed above")
    said = f"expected one series, found {len(chosen)}; choose one with --series, or by --contrast"
    raise UnusableInput(source, f"{said}: they are listed above")
