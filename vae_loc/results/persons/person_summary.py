"""The JSON of a person, typed, and the table beside the person's numbered mask."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from vae_loc.errors import UnusableInput
from vae_loc.results.finding_table import FindingSummary, tsv_cell
from vae_loc.results.output_names import PERSON_SCORES
from vae_loc.results.persons.merged_findings import Merged
from vae_loc.scans.volume import Volume
from vae_loc.system.reading import read_text
from vae_loc.vocabulary import FloatArray, Method

SCHEMA_VERSION = 1
RAREST = 1000  # healthy people; what is rarer is said to be rarer than one of so many
PERSON_COLUMNS = {
    "index": "value of the voxels of the finding in the numbered mask, 1 the rarest in healthy people",
    "name": "finding and its number",
    "contrasts": "contrasts in which it was found, the strongest first",
    "signs": "brighter or darker than expected of a healthy brain, for each of these",
    "scan_findings": "its number in the table of each of these scans",
    "false_findings": "how many as strong a healthy person is expected to have, at most",
    "volume_ml": "volume in ml",
    "peak_ras_mm": "where the person's map is greatest, RAS mm of the first scan: x,y,z",
    "peak_voxel": "the same as voxel indices from 0: i,j,k",
    "peak_slice": "axial slice of the peak, from 0",
    "centroid_ras_mm": "middle of the finding, RAS mm of the first scan: x,y,z",
    "side": "left, right, both or midline",
    "lobe": "lobe or structure that holds most of it, in the scan where it is strongest",
    "region": "largest region of the atlas in it, in that lobe",
    "words": "all of it in one sentence",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class SeenSummary(_Part):
    """What one contrast has of a person's finding: the row `finding` of that scan's own table."""

    contrast: str
    finding: int
    sign: Literal["brighter", "darker"]
    strength: float
    false_findings: float


class PersonFinding(_Part):
    """One finding of a person, on the grid of the first scan; see `PERSON_COLUMNS`. `seen`: strongest first."""

    number: int
    seen: list[SeenSummary]
    false_findings: float
    volume_ml: float
    peak_ras_mm: tuple[float, float, float]
    peak_voxel: tuple[int, int, int]
    peak_slice: int
    centroid_ras_mm: tuple[float, float, float]
    side: str | None
    lobe: str | None
    region: str | None
    words: str


class PersonMask(_Part):
    """The findings of a person in one map.

    Attributes
    ----------
    false_findings : how many findings a healthy person is expected to have, at most
    per_scan : how many each scan may contribute: `false_findings` shared among the contrasts
    """

    false_findings: float
    per_scan: float
    volume_ml: float
    findings: list[PersonFinding]


class PersonScan(_Part):
    """A scan of the person: the files of its result that the person's is made of, with their SHA-256.

    Attributes
    ----------
    scores : its scores JSON, from the folder of the person's
    off_mm : how far its alignment to the mean brain is from that of the first scan, median over the brain; None if
        that is not known
    through_template : whether its maps came through the mean brain, because the two were too far apart
    """

    contrast: str
    scan: str
    scores: str
    scores_sha256: str
    off_mm: float | None
    through_template: bool


class PersonSummary(_Part):
    """The content of a person's JSON; `scans` by contrast, and the first gives the grid."""

    schema_version: int = SCHEMA_VERSION
    person: str
    scans: list[PersonScan]
    masks: dict[Method, PersonMask]
    warnings: list[str]
    versions: dict[str, str]
    use: str
    files: dict[str, str] = {}


def read_person(path: Path) -> PersonSummary | None:
    """Return the content of a person's JSON; None if there is none, or it is of another schema."""
    try:
        return PersonSummary.model_validate_json(
            read_text(path, "a person's result").encode("utf-8", "surrogateescape")
        )
    except (UnusableInput, ValidationError, UnicodeError, RecursionError):
        return None


def people_beside(scores: Collection[Path]) -> list[tuple[Path, PersonSummary]]:
    """Return the results of people whose scans all have their scores among these files, and their JSONs, by name."""
    known = {path.resolve() for path in scores}
    found = []
    for folder in sorted({path.parent for path in scores}):
        for path in sorted(folder.glob(f"*{PERSON_SCORES}")):
            summary = read_person(path)
            if summary is not None and all((folder / scan.scores).resolve() in known for scan in summary.scans):
                found.append((path, summary))
    return found


def person_mask(
    found: Sequence[Merged],
    rows: Mapping[str, Sequence[FindingSummary]],
    heat: FloatArray,
    grid: Volume,
    *,
    expected: float,
) -> PersonMask:
    """Return what the JSON holds of a person's findings.

    Parameters
    ----------
    rows : the findings of each contrast's scan, as its own JSON has them
    heat : float32 (I, J, K), the person's map, on `grid`
    expected : how many findings a healthy person may be expected to have
    """
    findings = [_finding(number, one, rows, heat, grid) for number, one in enumerate(found, start=1)]
    volume_ml = sum(finding.volume_ml for finding in findings)
    return PersonMask(false_findings=expected, per_scan=expected / len(rows), volume_ml=volume_ml, findings=findings)


def person_tsv(mask: PersonMask) -> bytes:
    """Return the table of a person's findings: tab-separated, one row per finding, UTF-8."""
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(PERSON_COLUMNS)
    for finding in mask.findings:
        cells = finding.model_dump() | {"index": finding.number, "name": f"finding {finding.number}"}
        cells |= {
            "contrasts": tuple(one.contrast for one in finding.seen),
            "signs": tuple(one.sign for one in finding.seen),
            "scan_findings": tuple(one.finding for one in finding.seen),
        }
        table.writerow([tsv_cell(cells[name]) for name in PERSON_COLUMNS])
    return text.getvalue().encode("utf-8")


def _finding(
    number: int, one: Merged, rows: Mapping[str, Sequence[FindingSummary]], heat: FloatArray, grid: Volume
) -> PersonFinding:
    """Return a finding of a person with its place, which is that of the contrast where it is strongest."""
    scans_own = [rows[seen.contrast][seen.number - 1] for seen in one.seen]
    voxels = np.argwhere(one.inside)
    peak = voxels[int(heat[one.inside].argmax())]
    upwards = int(np.argmax(np.abs(grid.affine[2, :3]) / grid.spacing_mm))
    volume_ml = len(voxels) * grid.voxel_mm3 / 1000
    seen = [
        SeenSummary(
            contrast=of.contrast,
            finding=of.number,
            sign=row.sign,
            strength=of.strength,
            false_findings=of.false_findings,
        )
        for of, row in zip(one.seen, scans_own, strict=True)
    ]
    first = scans_own[0]
    return PersonFinding(
        number=number,
        seen=seen,
        false_findings=one.false_findings,
        volume_ml=volume_ml,
        peak_ras_mm=_ras_mm(grid, peak),
        peak_voxel=(int(peak[0]), int(peak[1]), int(peak[2])),
        peak_slice=int(peak[upwards]),
        centroid_ras_mm=_ras_mm(grid, voxels.mean(axis=0)),
        side=first.side,
        lobe=first.lobe,
        region=first.region,
        words=_words(seen, first, volume_ml, int(peak[upwards]), one.false_findings),
    )


def _words(seen: Sequence[SeenSummary], first: FindingSummary, volume_ml: float, peak_slice: int, rate: float) -> str:
    """Return a finding in one sentence."""
    signs = dict.fromkeys(one.sign for one in seen)
    looks = ", ".join(
        f"{sign} in {' and '.join(dict.fromkeys(one.contrast for one in seen if one.sign == sign))}" for sign in signs
    )
    return f"{volume_ml:.3g} ml, {looks}, {first.place}, slice {peak_slice}; {_rarity(rate)}"


def _rarity(rate: float) -> str:
    """Say how rare a finding is in healthy people.

    >>> _rarity(0.02), _rarity(1e-9)
    ('at most 1 in 50 healthy people have one as strong', 'fewer than 1 in 1000 healthy people have one as strong')
    """
    share = f"fewer than 1 in {RAREST}" if rate * RAREST < 1 else f"at most 1 in {max(1.0, 1 / rate):.0f}"
    return f"{share} healthy people have one as strong"


def _ras_mm(volume: Volume, voxel: NDArray[np.floating | np.integer]) -> tuple[float, float, float]:
    x, y, z = volume.affine[:3, :3] @ voxel + volume.affine[:3, 3]
    return float(x), float(y), float(z)
