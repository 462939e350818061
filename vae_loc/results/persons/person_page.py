"""The page of a person: the scans side by side, and the findings of all contrasts together."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.preprocessing.pose import Affine
from vae_loc.results.montage import Shown, Slices, montage_png
from vae_loc.results.page_parts import STEPS, crop_to, layer, viewer_data
from vae_loc.results.person_summary import PersonMask, PersonScan, PersonSummary
from vae_loc.results.scan_page import CITATION, MAX_CEILINGS, MAX_PICTURE_BYTES, environment, jpeg, look_of
from vae_loc.results.scan_summary import MaskSummary, ScanSummary
from vae_loc.scans.cases import Case
from vae_loc.scans.volume import Volume
from vae_loc.scoring.finding_model import how_many
from vae_loc.scoring.merged_findings import on_grid_of
from vae_loc.scoring.segmentation import Numbers
from vae_loc.system.reading import opened
from vae_loc.vocabulary import Method

VIEWER_DATA = re.compile(rb'<script type="application/json" id="viewer-data">(.*?)</script>', re.DOTALL)
# a person's map is 1 at the extent of a scan's, and about 4 where findings of T1 and T2 begin; the colours are neither
# warm nor blue: what is brighter in one contrast is darker in another
JOINT = Shown(1.0, 4.0, {"improbable": (0x5B1A8B, 0x9333C8, 0xD16BE0, 0xF7C6F5)})


@dataclass(frozen=True)
class ScanOfPerson:
    """A scan of the person, its stored result, and the way from RAS mm of the first scan to its own."""

    case: Case
    about: PersonScan
    summary: ScanSummary
    first2own_mm: Affine

    def mask(self, method: Method) -> MaskSummary:
        """Return the mask of a map; every scan of a person has one."""
        return (self.summary.masks or {})[method]


@dataclass(frozen=True)
class PersonMap:
    """The map of a person on the first scan's grid, its findings, and their numbers, (I, J, K)."""

    heat: Volume
    numbers: Numbers
    mask: PersonMask


def person_page(
    person: PersonSummary, scans: Sequence[ScanOfPerson], maps: Mapping[Method, PersonMap], folder: Path
) -> bytes:
    """Return the page of a person, UTF-8; it belongs into `folder`, that of the person's JSON.

    The scans are shown as their own pages hold them; one whose page is not there is left out of the viewer.

    Parameters
    ----------
    maps : the page opens with Combi if it is among them
    """
    maps = {method: maps[method] for method in sorted(maps, key=lambda method: method != "combi")}
    pages = {scan.about.contrast: look_of(folder / scan.about.scores, scan.summary.files)[1] for scan in scans}
    stored = [_stored(scan, pages[scan.about.contrast]) for scan in scans]
    shown = [scan for scan in stored if scan is not None]
    grid = next(iter(maps.values())).heat
    crop, layers = crop_to(grid.data > 0, grid), []
    for method, of in maps.items():
        heat = layer(of.heat.data, crop, low=0, high=MAX_CEILINGS * JOINT.ceiling, highest=True)
        numbers = layer(of.numbers, crop, low=0, high=STEPS, highest=True)
        limits = {"ceiling": JOINT.ceiling, "threshold": JOINT.floor}
        layers.append({"method": method, "layers": dict.fromkeys(JOINT.colours, heat), "numbers": numbers, **limits})
    page = environment().get_template("person.html")
    text = page.render(
        summary=person,
        scans=scans,
        pages={name: Path(os.path.relpath(own, folder)).as_posix() if own else None for name, own in pages.items()},
        maps=[_map_facts(method, of, person, scans, shown) for method, of in maps.items()],
        viewer=viewer_data([scan.facts for scan in shown], layers, crop, JOINT.colours),
        citation=CITATION,
    )
    return text.encode("utf-8")


@dataclass(frozen=True)
class _Stored:
    """A scan as its page holds it: for the viewer, and as an image in RAS mm of the first scan."""

    facts: Mapping[str, object]
    name: str
    image: nib.Nifti1Image


def _stored(scan: ScanOfPerson, page: Path | None) -> _Stored | None:
    """Return a scan as its page holds it; None if the page is not there, or of an earlier version."""
    try:
        with opened(page or Path(), "a page") as file:
            found = VIEWER_DATA.search(file.read(MAX_PICTURE_BYTES))
        own = json.loads(found[1])["scans"][0] if found else None
    except (UnusableInput, ValueError, KeyError):
        own = None
    if own is None:
        return None
    image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(own["data"])))
    affine = np.linalg.inv(scan.first2own_mm) @ image.affine
    if not np.array_equal(affine, image.affine):
        image.set_sform(affine)
        own["data"] = base64.b64encode(gzip.compress(image.to_bytes(), mtime=0)).decode("ascii")
    name = scan.about.contrast.upper()
    return _Stored({**own, "name": name, "expected": None}, name, image)


def _map_facts(
    method: Method, of: PersonMap, person: PersonSummary, scans: Sequence[ScanOfPerson], shown: Sequence[_Stored]
) -> dict[str, object]:
    """Return the facts of one map on the page: its picture, its findings, and the flags of each."""
    rows = {(scan.about.contrast, row.number): row for scan in scans for row in scan.mask(method).findings}
    flags = {
        finding.number: [
            f"{said} in {one.contrast.upper()}"
            for one in finding.seen
            for said in rows[one.contrast, one.finding].flag_words
        ]
        for finding in of.mask.findings
    }
    result = how_many(of.mask.findings, of.mask.false_findings)
    # the picture: each scan on the grid of the map
    slices, brain = [], of.heat.data > 0
    for scan in shown:
        values = np.asarray(scan.image.dataobj, dtype=np.float32)
        volume = replace(of.heat, data=on_grid_of(of.heat, values, scan.image.affine, np.eye(4)))
        slices.append(replace(Slices.of(volume, of.heat.data, brain, of.numbers, JOINT), name=scan.name))
    title = f"{person.person}   {method}   research use only"
    picture = montage_png(slices, of.mask.findings, title=title, result=result) if slices else None
    about = {"method": method, "mask": of.mask, "findings": of.mask.findings, "flags": flags, "nothing": result}
    return {**about, "montage": jpeg(picture) if picture else None}
