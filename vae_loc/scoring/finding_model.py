"""One finding, its facts described once: JSON, tables, sidecars, DICOM Segmentations and words are made of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, TypedDict

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, computed_field

from vae_loc.scans.volume import Volume
from vae_loc.scoring.anatomy import Place, Side
from vae_loc.scoring.findings import Sign
from vae_loc.system.reading import as_text
from vae_loc.vocabulary import Method

Point = tuple[float, float, float]  # RAS mm
VolumeMl = Annotated[float, Field(description="volume in ml")]
PeakVoxel = Annotated[tuple[int, int, int], Field(description="the same as voxel indices from 0: i,j,k")]
PeakSlice = Annotated[int, Field(description="axial slice of the peak, from 0")]
SideOf = Annotated[Side | None, Field(description="left, right, both or midline")]
RegionOf = Annotated[str | None, Field(description="largest region of the atlas in it, in that lobe")]
WORDS = "all of it in one sentence"
NO_PLACE = "no named place"  # of the atlas
AT_MOST = "how many as strong a healthy {} is expected to have, at most; not below 1 / (real and ordinary scans)"
ScansOfKind = Annotated[int | None, Field(description="of how many; unknown where the model has none")]


class Measures(TypedDict):
    """The facts of a finding that are measured on its voxels."""

    volume_ml: float
    peak_ras_mm: Point
    peak_voxel: tuple[int, int, int]
    peak_slice: int
    centroid_ras_mm: Point


class Finding(BaseModel):
    """One place of a scan that differs from healthy people; what is not known is None."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(description="value of the voxels of the finding in the numbered mask, 1 the strongest")
    sign: Sign = Field(description="brighter or darker than expected of a healthy brain")
    strength: float = Field(description="greatest magnitude of the map in it; Combi on T1: with the learned map's part")
    false_findings: float | None = Field(description=AT_MOST.format("scan"))
    contrast: str = Field(description="contrast of the scans that it is compared with")
    real_as_strong: int | None = Field(description="real healthy scans of the model that have one as strong anywhere")
    real_scans: ScansOfKind
    simulated_as_strong: int | None = Field(description="the same of healthy scans of another contrast made to look so")
    simulated_scans: ScansOfKind
    ordinary_as_strong: int | None = Field(description="the same of ordinary scans, what may be disease left out")
    ordinary_scans: ScansOfKind
    volume_ml: VolumeMl
    peak_ras_mm: Point = Field(description="where the map is greatest, RAS mm of the scan: x,y,z")
    peak_voxel: PeakVoxel
    peak_slice: PeakSlice
    centroid_ras_mm: Point = Field(description="middle of the finding, RAS mm of the scan: x,y,z")
    side: SideOf
    lobe: str | None = Field(description="lobe or structure that holds most of it")
    region: RegionOf
    region_share: float | None = Field(description="share of the finding in that region")
    other_regions: dict[str, float] | None = Field(description="the largest others of a large finding, with shares")
    symmetric: bool | None = Field(description="whether the mirrored place is as strong")
    fluid: bool | None = Field(description="whether it is as bright or as dark as the fluid of the scan's ventricles")
    edge: bool | None = Field(description="whether most of it lies within 7.5 mm of the edge of the brain mask")
    image_number: str | None = Field(None, description="InstanceNumber, or number of the frame, of the peak in DICOM")
    image_uid: str | None = Field(None, description="SOPInstanceUID of that image")

    @property
    def slice_words(self) -> str:
        """The image of the peak by its number in the DICOM series, else the axial slice, counted from 0."""
        return f"image {self.image_number}" if self.image_number else f"slice {self.peak_slice}"

    @computed_field(description=WORDS)  # type: ignore[prop-decorator]
    @property
    def words(self) -> str:
        """The finding in one sentence."""
        said = sentence(self.volume_ml, f"{self.sign} than expected", self.place_words, self.slice_words)
        said = ", ".join((said, *self.flag_words))
        return f"{said}; {self.compared}" if self.compared else said

    @property
    def compared(self) -> str:
        """The numbers of scans of each kind with a finding as strong, in words; empty where they are not known."""
        counts = (
            (self.real_as_strong, self.real_scans, "real"),
            (self.simulated_as_strong, self.simulated_scans, "simulated"),
            (self.ordinary_as_strong, self.ordinary_scans, "ordinary"),
        )
        real, simulated, ordinary = (f"{n} of {of} {kind}" if of else "" for n, of, kind in counts)
        healthy = " and ".join(filter(None, (real, simulated)))
        said = " and ".join(filter(None, (healthy and f"{healthy} healthy", ordinary)))
        return f"as strong in {said} {self.contrast.upper()} scans" if said else ""

    @property
    def flag_words(self) -> tuple[str, ...]:
        """The flags that are true, in words."""
        looks = "bright" if self.sign == "brighter" else "dark"
        words = {
            "on both sides alike": self.symmetric,
            f"as {looks} as fluid": self.fluid,
            "at the edge of the brain mask": self.edge,
        }
        return tuple(said for said, is_so in words.items() if is_so)

    @property
    def place(self) -> Place | None:
        """Side, lobe and region, None where the atlas has no name."""
        if self.side is None or self.lobe is None or self.region is None:
            return None
        return Place(self.side, self.lobe, self.region, self.region_share or 0.0, self.other_regions or {})

    @property
    def place_words(self) -> str:
        """The place as one phrase."""
        return NO_PLACE if self.place is None else self.place.words()


class SeenSummary(BaseModel):
    """The part of a person's finding that one contrast has: the row `finding` of that scan's own table."""

    model_config = ConfigDict(frozen=True)

    contrast: str
    finding: int
    sign: Sign
    strength: float
    false_findings: float


class PersonFinding(BaseModel):
    """One finding of a person, on the grid of the first scan."""

    model_config = ConfigDict(frozen=True)

    number: int = Field(
        description="value of the voxels of the finding in the numbered mask, 1 the rarest in healthy people"
    )
    seen: list[SeenSummary] = Field(description="the findings of the contrasts, the strongest first")
    false_findings: float = Field(description=AT_MOST.format("person"))
    volume_ml: VolumeMl
    peak_ras_mm: Point = Field(description="where the person's map is greatest, RAS mm of the first scan: x,y,z")
    peak_voxel: PeakVoxel
    peak_slice: PeakSlice
    centroid_ras_mm: Point = Field(description="middle of the finding, RAS mm of the first scan: x,y,z")
    side: SideOf
    lobe: str | None = Field(description="lobe or structure that holds most of it, in the scan where it is strongest")
    region: RegionOf
    words: str = Field(description=WORDS)


AnyFinding = Finding | PersonFinding


def measures(voxels: NDArray[np.intp], peak: NDArray[np.intp], volume: Volume) -> Measures:
    """Return the measures of a finding, from its voxels (N, 3) and the one where the map is greatest (3,)."""
    upwards = int(np.argmax(np.abs(volume.affine[2, :3]) / volume.spacing_mm))
    return {
        "volume_ml": len(voxels) * volume.voxel_mm3 / 1000,
        "peak_ras_mm": _ras_mm(volume, peak),
        "peak_voxel": (int(peak[0]), int(peak[1]), int(peak[2])),
        "peak_slice": int(peak[upwards]),
        "centroid_ras_mm": _ras_mm(volume, voxels.mean(axis=0)),
    }


def sentence(volume_ml: float, looks: str, place: str, at: str) -> str:
    """Return the words that a finding begins with: size, sign and place, and slice or image."""
    return f"{about_ml(volume_ml)}, {looks}, {place}, {at}"


def about_ml(volume_ml: float) -> str:
    """Return a volume in words, to the digits that it is worth.

    >>> about_ml(114.3), about_ml(0.348)
    ('about 110 ml', 'about 0.35 ml')
    """
    return f"about {float(f'{volume_ml:.2g}'):g} ml"


def columns_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the columns of a table of findings and their descriptions; BIDS wants index and name first.

    >>> list(columns_of(Finding))[:4]
    ['index', 'name', 'sign', 'strength']
    """
    fields = {name: field.description or "" for name, field in model.model_fields.items()}
    fields |= {name: field.description or "" for name, field in model.model_computed_fields.items()}
    return {"index": fields.pop("number"), "name": "finding and its number"} | fields


def findings_tsv(columns: Mapping[str, str], rows: Sequence[Mapping[str, object]]) -> bytes:
    """Return a table of findings: tab-separated, one row for each, UTF-8; a header alone if there is none.

    Parameters
    ----------
    columns : as of `columns_of`
    rows : the fields of each finding
    """
    return tsv(columns, [{**row, "index": row["number"], "name": f"finding {row['number']}"} for row in rows])


def tsv(columns: Iterable[str], rows: Iterable[Mapping[str, object]]) -> bytes:
    """Return a tab-separated table, UTF-8, `n/a` where a row has no such cell; a header alone without rows."""
    text = io.StringIO()
    table, names = csv.writer(text, delimiter="\t", lineterminator="\n"), list(columns)
    table.writerow(names)
    table.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return text.getvalue().encode("utf-8", "backslashreplace")


def nothing_found(false_findings: float | None) -> str:
    """Return the words for a map without a finding.

    >>> nothing_found(0.1)
    'no finding that fewer than 1 in 10 healthy people show'
    >>> nothing_found(None)
    'nothing above the threshold'
    >>> nothing_found(1 / 9)
    'no finding that fewer than 1 in 9 healthy people show'
    """
    if false_findings is None:
        return "nothing above the threshold"
    return f"no finding that fewer than {one_in(false_findings)} healthy people show"


def one_in(rate: float) -> str:
    """Return a rate as the share of people, rounded up: of 0.11 it is 1 in 9.

    >>> one_in(0.01), one_in(0.3), one_in(2)
    ('1 in 100', '1 in 3', 'all')
    """
    return "all" if rate >= 1 else f"1 in {int(1 / rate + 1e-9)}"


def how_many(findings: Sequence[AnyFinding], false_findings: float | None) -> str:
    """Return how many findings there are, in words."""
    if not findings:
        return nothing_found(false_findings)
    return f"{len(findings)} finding{'s' if len(findings) > 1 else ''}"


def findings_words(findings: Sequence[AnyFinding], false_findings: float | None) -> str:
    """Return how many findings there are and which is the strongest, in words."""
    strongest = f", strongest: {findings[0].words}" if findings else ""
    return how_many(findings, false_findings) + strongest


def words_of_maps(words: Mapping[Method, str]) -> list[str]:
    """Return the words for each map, with its name where there are several."""
    return [said if len(words) == 1 else f"{method}: {said}" for method, said in words.items()]


def _cell(value: object) -> str:
    """Return a value as it stands in the table: several numbers in one cell are joined by commas; `n/a` for None."""
    if value is None or value == "":
        return "n/a"
    if isinstance(value, tuple):
        return ",".join(map(_cell, value))
    if isinstance(value, dict):
        return ",".join(f"{name} {_cell(of)}" for name, of in value.items()) or "n/a"
    return f"{value:.6g}" if isinstance(value, float) else as_text(str(value))


def _ras_mm(volume: Volume, voxel: NDArray[np.floating | np.integer]) -> Point:
    x, y, z = volume.affine[:3, :3] @ voxel + volume.affine[:3, 3]
    return float(x), float(y), float(z)
