"""Where the derivatives of a BIDS dataset go, and what describes them (BIDS 1.10, derivatives of imaging)."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from vae_loc.errors import UnusableInput
from vae_loc.results.output_names import GROUP_TABLES, PERSON_SCORES, OutputNames, signed_name
from vae_loc.results.person_summary import person_columns
from vae_loc.results.scan_summary import MaskSummary
from vae_loc.scans.people import Person
from vae_loc.scans.volume import stem, write_volume
from vae_loc.scoring.finding_model import Finding, columns_of
from vae_loc.scoring.locate import Located
from vae_loc.system.reading import read_text
from vae_loc.system.versions import own_version
from vae_loc.system.writing import check_place, together, write_atomically, write_json
from vae_loc.vocabulary import MNI, Method, Polarity

BIDS_VERSION = "1.10.0"
DESCRIPTION = "dataset_description.json"
FINDINGS = "findings"  # `desc-` of the numbered mask
IMAGES = ("percentile.nii.gz", "mask.nii.gz", "dseg.nii.gz", "scan.nii.gz")  # those with a sidecar
DEFINED = ("index", "name")  # columns that BIDS describes itself
PERSON_NUMBERED = "Findings of all contrasts of the session, numbered from the rarest in healthy people"
SCAN_NUMBERED = "Findings, numbered from the strongest; the table beside it says what is known of each"
PLAIN_SUFFIX = "T1w"  # whose derivatives are named without it; a FLAIR of the same session must not collide
IGNORED = ("*_anomaly.nii.gz", "*_scores.json", "figures", "cohort*.csv", "*.html",
           *(f"{name}*" for name in GROUP_TABLES))  # fmt: skip
# no slash: the folder itself too
README = (Path(__file__).parent / "templates" / "derivatives.md").read_text("utf-8")


@dataclass(frozen=True)
class Derivatives(OutputNames):
    """Where the derivatives of scans of the dataset `raw` go.

    Percentiles are stored as 0 to 1, for a `probseg` is a probability.
    """

    percentile_top: ClassVar[float] = 1.0
    raw: Path
    polarity: Polarity = "any"

    def path(self, scan: Path, method: Method, kind: str) -> Path:
        """Return the path of a scan's map, percentile, mask or picture."""
        source, other = _source(scan)
        described = signed_name(other, self.polarity)
        label = f"label-anomaly_desc-{described}" if described else "label-anomaly"
        of_map, findings = (f"{other}{signed_name(name, self.polarity)}" for name in (method, FINDINGS))
        if kind == "anomaly.png":
            return self.folder / scan.relative_to(self.raw).parts[0] / "figures" / f"{source}_desc-{of_map}_{kind}"
        own = "" if self.space else "space-orig_"
        name = {
            "anomaly.nii.gz": f"{own}desc-{of_map}_{kind}",
            "percentile.nii.gz": f"{own}{label}_probseg.nii.gz",
            "mask.nii.gz": f"{label}_{kind}",
            "scan.nii.gz": f"desc-aligned_{stem(scan).rpartition('_')[2]}.nii.gz",
        }
        return self._beside(scan, name.get(kind, f"desc-{findings}_{kind}"))

    def scores(self, scan: Path) -> Path:
        """Return the path of a scan's JSON."""
        return self._beside(scan, f"desc-{_source(scan)[1]}anomaly_scores.json")

    def of_maps(self, scan: Path, methods: Sequence[Method]) -> list[Path]:
        """Return every path that may be written for the maps of a scan in one space."""
        images = [self._brain(scan), *(self.path(scan, method, kind) for method in methods for kind in IMAGES)]
        return [images[0], *map(_sidecar, images), *super().of_maps(scan, methods)]

    def companions(self, located: Located, masks: Mapping[Method, MaskSummary]) -> None:
        """Write the brain mask, and the sidecars that describe the images."""
        scan = located.volume.path
        brain = self._brain(scan)
        write_volume(brain, located.brain.astype(np.uint8), located.volume)
        about = f"Brain that was looked at, from: {located.scan.brain_source}"
        sidecars: dict[Path, dict[str, object]] = {brain: {"Description": about, "Type": "Brain"}}
        if self.space:
            stripped = located.scan.brain_source == "skull-stripped"
            moved = {"Description": "The scan, aligned to the template by an affine", "SkullStripped": stripped}
            sidecars[self.path(scan, next(iter(located.maps)), "scan.nii.gz")] = moved
        for method in located.maps:
            share = f"Share of the voxels of healthy brains with a lower anomaly score ({method})"
            sidecars[self.path(scan, method, "percentile.nii.gz")] = {"Description": share}
            if (mask := masks.get(method)) is not None:
                facts = {
                    "Description": f"Findings: where the anomaly score ({method}) is beyond that of healthy people",
                    "Type": "Lesion",
                    "Threshold": mask.threshold,
                    "MinimumStrength": mask.min_strength,
                    "ThresholdFrom": mask.threshold_from,
                    "MinimumSizeMm3": mask.min_size_mm3,
                }
                sidecars[self.path(scan, method, "mask.nii.gz")] = facts
                numbered = {"Description": SCAN_NUMBERED} | _described(columns_of(Finding))
                sidecars[self.path(scan, method, "dseg.nii.gz")] = facts | numbered
        source = self._uri(scan)
        made_of = {"Sources": [source], "SpatialReference": MNI if self.space else source}
        for image, facts in sidecars.items():
            write_json(_sidecar(image), facts | made_of)

    def of_person(self, person: Person, method: Method, kind: str) -> Path:
        """Return the path of a person's map, mask or table, beside those of the first scan."""
        described = signed_name(method if kind == "anomaly.nii.gz" else FINDINGS, self.polarity)
        return self.person_scores(person).with_name(f"{person.name}_desc-person{described}_{kind}")

    def person_scores(self, person: Person) -> Path:
        """Return the path of a person's JSON."""
        return self.folder / person.first.scan.parent.relative_to(self.raw) / f"{person.name}{PERSON_SCORES}"

    def person_paths(self, person: Person, methods: Sequence[Method]) -> list[Path]:
        """Return every path that may be written for a person."""
        *maps, page, scores = super().person_paths(person, methods)
        sidecars = [_sidecar(self.of_person(person, method, "dseg.nii.gz")) for method in methods]
        return [*maps, *sidecars, page, scores]

    def person_companions(self, person: Person, methods: Sequence[Method]) -> None:
        """Write the sidecars of a person's masks."""
        sources = [self._uri(case.scan) for case in person.cases.values()]
        about = {"Description": PERSON_NUMBERED, "Type": "Lesion", "Sources": sources, "SpatialReference": sources[0]}
        for method in methods:
            sidecar = _sidecar(self.of_person(person, method, "dseg.nii.gz"))
            write_json(sidecar, about | _described(person_columns()))

    def _uri(self, scan: Path) -> str:
        return f"bids:raw:{scan.relative_to(self.raw).as_posix()}"

    def _brain(self, scan: Path) -> Path:
        return self._beside(scan, f"desc-{_source(scan)[1]}brain_mask.nii.gz")

    def _beside(self, scan: Path, name: str) -> Path:
        return self.folder / scan.parent.relative_to(self.raw) / f"{_source(scan)[0]}{self.space}_{name}"


def write_description(where: Derivatives) -> None:
    """Write the files that make a folder a dataset of derivatives: its description, README and `.bidsignore`.

    A README or `.bidsignore` that is there already and not of vae-loc is left as it is.

    Raises
    ------
    UnusableInput : if another program, or a person, described the folder as a dataset.
    """
    link = os.path.relpath(where.raw, where.folder)
    description = {
        "Name": "Anomaly maps of brain MRI",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "vae-loc", "Version": own_version()}],
        "SourceDatasets": [{"URL": link}],
        "DatasetLinks": {"raw": link},
        "HowToAcknowledge": "Please cite Zimmerer et al., MICCAI 2019, arXiv:1907.02796",
    }
    place = where.folder / DESCRIPTION
    check_place(place)
    if os.path.lexists(place) and not _is_own_description(place):
        raise UnusableInput(where.folder, "is a dataset that vae-loc did not write; name another folder")
    with together():
        write_json(place, description)
        for name, content in (("README.md", README), (".bidsignore", "".join(f"{name}\n" for name in IGNORED))):
            path = where.folder / name
            if not os.path.lexists(path) or _begins(path, content.splitlines()[0]):
                write_atomically(path, content.encode())


def _is_own_description(path: Path) -> bool:
    """Return whether vae-loc generated a dataset, by its description."""
    try:
        makers = json.loads(read_text(path, "a description"))["GeneratedBy"]
        return any(maker["Name"] == "vae-loc" for maker in makers)
    except (UnusableInput, ValueError, KeyError, TypeError, RecursionError):
        return False


def _begins(path: Path, line: str) -> bool:
    """Return whether a file is a text whose first line is `line`."""
    try:
        return read_text(path, "text").splitlines()[:1] == [line]
    except UnusableInput:
        return False


def _described(columns: Mapping[str, str]) -> dict[str, object]:
    """Return the columns of a table as its sidecar describes them."""
    return {name: {"Description": words} for name, words in columns.items() if name not in DEFINED}


def _source(scan: Path) -> tuple[str, str]:
    """Return the entities of a scan's name, and its suffix unless that is the plain one."""
    entities, _, suffix = stem(scan).rpartition("_")
    return entities, "" if suffix == PLAIN_SUFFIX else suffix


def _sidecar(image: Path) -> Path:
    return image.with_name(f"{stem(image)}.json")
