"""The findings of a map in words, in JSON, and as the table beside the numbered mask (BIDS: index and name first)."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from vae_loc.scans.volume import Volume
from vae_loc.scoring.anatomy import Place, Side
from vae_loc.scoring.segmentation import Finding, SegmentedMap

COLUMNS = {
    "index": "value of the voxels of the finding in the numbered mask, 1 the strongest",
    "name": "finding and its number",
    "sign": "brighter or darker than expected of a healthy brain",
    "strength": "greatest magnitude of the map in it",
    "false_findings": "how many as strong a healthy scan is expected to have",
    "healthy_as_strong": "healthy scans of the model that have one as strong anywhere",
    "healthy_scans": "of how many",
    "volume_ml": "volume in ml",
    "peak_ras_mm": "where the map is greatest, RAS mm of the scan: x,y,z",
    "peak_voxel": "the same as voxel indices from 0: i,j,k",
    "peak_slice": "axial slice of the peak, from 0",
    "centroid_ras_mm": "middle of the finding, RAS mm of the scan: x,y,z",
    "side": "left, right, both or midline",
    "lobe": "lobe or structure that holds most of it",
    "region": "largest region of the atlas in it, in that lobe",
    "region_share": "share of the finding in that region",
    "words": "all of it in one sentence",
}
NO_PLACE = "no named place"  # of the atlas
PER_SCAN = {0.1: "1 in 10", 0.05: "1 in 20", 0.2: "1 in 5", 0.01: "1 in 100"}


class FindingSummary(BaseModel):
    """One finding: places in RAS mm of the scan, voxels and slice counted from 0.

    Attributes
    ----------
    number : its value in the numbered mask; 1 is the strongest
    sign : brighter or darker than expected of a healthy brain
    strength : the map's greatest magnitude in it
    false_findings : how many as strong a healthy scan is expected to have; None if the model does not know
    healthy_as_strong : how many of `healthy_scans` healthy scans have one as strong anywhere
    peak_slice : the axial slice of `peak_voxel`
    side, lobe, region, region_share : where most of it lies, by the atlas; None where that has no name
    words : all of it in one sentence
    """

    model_config = ConfigDict(frozen=True)

    number: int
    sign: Literal["brighter", "darker"]
    strength: float
    false_findings: float | None
    healthy_as_strong: int | None
    healthy_scans: int | None
    volume_ml: float
    peak_ras_mm: tuple[float, float, float]
    peak_voxel: tuple[int, int, int]
    peak_slice: int
    centroid_ras_mm: tuple[float, float, float]
    side: Side | None
    lobe: str | None
    region: str | None
    region_share: float | None
    words: str

    @property
    def place(self) -> str:
        """Where most of it lies, as one phrase."""
        if self.side is None or self.lobe is None or self.region is None:
            return NO_PLACE
        return Place(self.side, self.lobe, self.region, self.region_share or 0.0).words()


def finding_summaries(segmented: SegmentedMap, volume: Volume) -> list[FindingSummary]:
    """Return the findings of a map as they stand in the JSON, strongest first."""
    upwards = int(np.argmax(np.abs(volume.affine[2, :3]) / volume.spacing_mm))
    return [_summary(finding, finding.peak_voxel[upwards]) for finding in segmented.findings]


def findings_tsv(findings: Sequence[FindingSummary]) -> bytes:
    """Return the table of findings: tab-separated, one row per finding, UTF-8; a header alone if there is none."""
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(COLUMNS)
    for finding in findings:
        cells = finding.model_dump() | {"index": finding.number, "name": f"finding {finding.number}"}
        table.writerow([tsv_cell(cells[name]) for name in COLUMNS])
    return text.getvalue().encode("utf-8")


def nothing_found(false_findings: float | None) -> str:
    """Say that a map has no finding.

    >>> nothing_found(0.1)
    'no finding that fewer than 1 in 10 healthy people show'
    >>> nothing_found(None)
    'nothing above the threshold'
    """
    if false_findings is None:
        return "nothing above the threshold"
    share = PER_SCAN.get(false_findings, f"{false_findings:g} of all")
    return f"no finding that fewer than {share} healthy people show"


def _summary(finding: Finding, peak_slice: int) -> FindingSummary:
    facts = asdict(finding)
    place = facts.pop("place") or dict.fromkeys(("side", "lobe", "region", "share"))
    place["region_share"] = place.pop("share")
    return FindingSummary(**facts, **place, peak_slice=peak_slice, words=_words(finding, peak_slice))


def _words(finding: Finding, peak_slice: int) -> str:
    """Return a finding in one sentence."""
    place = finding.place.words() if finding.place else NO_PLACE
    said = f"{finding.volume_ml:.3g} ml, {finding.sign} than expected, {place}, slice {peak_slice}"
    if finding.healthy_as_strong is None:
        return said
    return f"{said}; {finding.healthy_as_strong} of {finding.healthy_scans} healthy scans have one as strong"


def tsv_cell(value: object) -> object:
    """Return a value as it stands in the table: several numbers in one cell are joined by commas; `n/a` for None."""
    if value is None:
        return "n/a"
    if isinstance(value, tuple):
        return ",".join(tsv_cell(part) for part in value)  # type: ignore[misc]
    return f"{value:.6g}" if isinstance(value, float) else str(value)
