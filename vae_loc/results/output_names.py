"""Where the outputs of scans go, and under which names."""

from __future__ import annotations

import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from vae_loc.errors import OurBug, UnusableInput, UnusableOption
from vae_loc.scans.cases import Case, unique_names
from vae_loc.scans.nifti import pair
from vae_loc.scans.own_outputs import SCORES_ENDING, is_scores, wrote
from vae_loc.scans.volume import stem
from vae_loc.system.reading import opened, read_csv
from vae_loc.system.writing import check_place, refuse_inputs
from vae_loc.vocabulary import MNI, Method, Polarity

if TYPE_CHECKING:
    from vae_loc.results.scan_summary import MaskSummary
    from vae_loc.scans.people import Person
    from vae_loc.scoring.locate import Located
    from vae_loc.scoring.score_options import ScoreOptions

MASK_KINDS = ("mask.nii.gz", "dseg.nii.gz", "dseg.tsv")  # 0 and 1; numbered by finding; the facts of each
KINDS = ("anomaly.nii.gz", "percentile.nii.gz", *MASK_KINDS, "anomaly.png")
TEMPLATE_KINDS = (*KINDS[:4], "scan.nii.gz")  # in the space of the template: maps, masks, and the scan itself
PERSON_KINDS = ("anomaly.nii.gz", "dseg.nii.gz", "dseg.tsv")
PERSON_SCORES = "_desc-person_scores.json"
PAGE_ENDING = "_report.html"
PAGE_MARK, PAGE_HEAD_BYTES = b" - vae-loc</title>", 4096  # of our pages, and how much of a page holds it
GROUP_TABLES = ("findings", "people", "burden")  # beside the cohort table, each with a data dictionary
OWN_PARTS = ("_desc-", "_label-anomaly_")  # of names that no other program's files beside a scan have
MAX_STEM_BYTES = 190  # 255 less the longest of our endings
OTHER_SUFFIXES = (".gz", ".png", ".jpg", ".pdf", ".svg", ".json", ".csv", ".txt", ".safetensors", ".pt", ".pth", ".npy",
                  ".npz", ".hdr", ".img", ".mgh", ".mgz", ".mnc", ".nrrd", ".mha", ".dcm", ".zip", ".bz2")  # fmt: skip


@dataclass(frozen=True)
class OutputNames(ABC):
    """Where the outputs of scans go, and under which names; all that is written is declared.

    Attributes
    ----------
    folder : holds all of them
    space : the part of each name that states the space of a template; empty on the scan's own grid
    percentile_top : the number that stands for a percentile of 100
    """

    folder: Path
    space: str = field(default="", kw_only=True)
    percentile_top: ClassVar[float] = 100.0

    @abstractmethod
    def path(self, scan: Path, method: Method, kind: str) -> Path:
        """Return the path of one of `KINDS`, or in the space of the template of `TEMPLATE_KINDS`."""

    @abstractmethod
    def scores(self, scan: Path) -> Path:
        """Return the path of a scan's JSON."""

    def page(self, scan: Path) -> Path:
        """Return the path of a scan's report."""
        return page_of(self.scores(scan))

    @abstractmethod
    def of_person(self, person: Person, method: Method, kind: str) -> Path:
        """Return the path of one of `PERSON_KINDS`."""

    @abstractmethod
    def person_scores(self, person: Person) -> Path:
        """Return the path of a person's JSON."""

    def only(self, *scans: Path) -> OutputNames:
        """Return names restricted to these scans, small enough to send to a worker."""
        return self

    @property
    def in_template(self) -> OutputNames:
        """The names of the same outputs in the space of the template `MNI`."""
        return replace(self, space=f"_space-{MNI}")

    def of_maps(self, scan: Path, methods: Sequence[Method]) -> list[Path]:
        """Return every path that may be written for the maps of a scan in one space."""
        kinds = TEMPLATE_KINDS if self.space else KINDS
        return [self.path(scan, method, kind) for method in methods for kind in kinds]

    def all_paths(self, scan: Path, methods: Sequence[Method]) -> list[Path]:
        """Return every path that may be written for a scan, in the order in which its JSON lists them."""
        maps = self.of_maps(scan, methods) + self.in_template.of_maps(scan, methods)
        return [*maps, self.page(scan), self.scores(scan)]

    def person_paths(self, person: Person, methods: Sequence[Method]) -> list[Path]:
        """Return every path that may be written for a person, in the order in which the JSON lists them."""
        maps = [self.of_person(person, method, kind) for method in methods for kind in PERSON_KINDS]
        scores = self.person_scores(person)
        return [*maps, page_of(scores), scores]

    def companions(self, located: Located, masks: Mapping[Method, MaskSummary]) -> None:
        """Write the other files that belong to a scan's maps and masks, where names need them."""
        del located, masks

    def person_companions(self, person: Person, methods: Sequence[Method]) -> None:
        """Write the other files that belong to a person's masks, where names need them."""
        del person, methods


def signed_name(name: str, polarity: Polarity) -> str:
    """Return the name of a map, or of what is found in it, for file names: with the sign that is left of it.

    >>> signed_name("rec-error", "any"), signed_name("combi", "dark")
    ('recerror', 'combidark')
    """
    return name.replace("-", "") + ("" if polarity == "any" else polarity)


@dataclass(frozen=True)
class FolderNames(OutputNames):
    """Names in a folder, or one map's file name.

    Attributes
    ----------
    names : of scans whose file names alone would not tell their outputs apart
    polarity : which sign the maps hold
    """

    map_file: Path | None
    names: Mapping[Path, str] = field(default_factory=dict)
    polarity: Polarity = "any"

    def path(self, scan: Path, method: Method, kind: str) -> Path:
        """Return the path of one of `KINDS`, or in the space of the template of `TEMPLATE_KINDS`."""
        name = self._of_scan(scan) + self.space
        if self.map_file is None:
            described = "aligned" if kind == "scan.nii.gz" else signed_name(method, self.polarity)
            return self.folder / f"{name}_desc-{described}_{kind}"
        if kind == "anomaly.nii.gz" and not self.space:
            return self.map_file
        return self.folder / (f"{name}.png" if kind == "anomaly.png" else f"{name}_{kind}")

    def scores(self, scan: Path) -> Path:
        """Return the path of a scan's JSON."""
        return self.folder / f"{self._of_scan(scan)}{SCORES_ENDING}"

    def only(self, *scans: Path) -> FolderNames:
        """Return the same without the names of other scans."""
        return replace(self, names={scan: self.names[scan] for scan in scans if scan in self.names})

    def of_person(self, person: Person, method: Method, kind: str) -> Path:
        """Return the path of one of `PERSON_KINDS`."""
        return self.folder / f"{_short(person.name)}_desc-person{signed_name(method, self.polarity)}_{kind}"

    def person_scores(self, person: Person) -> Path:
        """Return the path of a person's JSON."""
        return self.folder / f"{_short(person.name)}{PERSON_SCORES}"

    def _of_scan(self, scan: Path) -> str:
        """Return the beginning of the names of a scan's outputs."""
        return _short(self.names.get(scan) or stem(scan)) if self.map_file is None else stem(self.map_file)


def _short(name: str) -> str:
    """Return a name that leaves room for our endings: file systems allow 255 bytes for all."""
    raw = os.fsencode(name)
    if len(raw) <= MAX_STEM_BYTES:
        return name
    digest = hashlib.sha256(raw).hexdigest()[:8]
    return f"{raw[: MAX_STEM_BYTES - 9].decode('utf-8', 'ignore')}-{digest}"


def folder_names(output: Path, *, scans: Sequence[Path], methods: int, polarity: Polarity = "any") -> FolderNames:
    """Read `-o`: a folder, or a NIfTI file name for one scan and one method; prove that it can be written.

    The sign that `polarity` leaves is in the names, but for a file name that `-o` gives.

    Raises
    ------
    UnusableOption : if it is one file for several maps, or ends like a file of another kind.
    UnusableInput : if it cannot be written.
    """
    name = output.name.lower()
    if os.path.isdir(output) or not name.endswith((".nii", *OTHER_SUFFIXES)):
        check_place(output / KINDS[0])
        return FolderNames(output, None, unique_names(scans), polarity=polarity)
    if not name.endswith((".nii", ".nii.gz")):
        raise UnusableOption("-o", f"expected a folder or a name ending in .nii or .nii.gz, got {output.name}")
    if len(scans) > 1 or methods > 1:
        raise UnusableOption(
            "-o", f"{output.name} is one file for {len(scans)} scans x {methods} methods; name a folder"
        )
    check_place(output)
    return FolderNames(output.parent, output)


def refuse_clashes(
    cases: Sequence[Case],
    names: OutputNames,
    options: ScoreOptions,
    *,
    others: Sequence[Path] = (),
    table: Path | None = None,
) -> None:
    """Refuse a run before its first scan if an output would replace an input, another output, or a file of the user.

    Parameters
    ----------
    others : inputs of the run besides its scans, their masks and the model
    table : the cohort table, where one is written

    Raises
    ------
    UnusableInput : naming the output.
    """
    scan_of: dict[Path, Path] = {}
    for case in cases:
        unwritten = None if options.files.report else names.page(case.scan)
        for path in names.all_paths(case.scan, options.methods):
            if path != unwritten and (other := scan_of.setdefault(path, case.scan)) != case.scan:
                raise UnusableInput(path, f"would be an output of {other} and of {case.scan}; remove or rename one")
    inputs = [path for case in cases for path in (*pair(case.scan), case.brain_mask) if path]
    inputs += [*others, *(Path(path) for path in (options.brain_mask, options.model) if path)]
    tables = [table, table.with_suffix(".html")] if table else []
    tables += group_table_paths(table) if table and options.files.segmentation else []
    refuse_inputs([*scan_of, *tables], inputs)
    # a file that is there already is of an earlier run by its content, its name, or the scores JSON
    is_ours = {".html": is_page, ".csv": is_cohort_table}
    own = {path: is_ours.get(path.suffix, is_group_table)(path) for path in tables}
    for path, scan in scan_of.items():
        scores = names.scores(scan)
        if path in (scores, names.page(scan)):
            own[path] = is_scores(path) if path == scores else is_page(path)
        else:
            own[path] = any(part in path.name for part in OWN_PARTS) or wrote(path, scores)
    for path, ours in own.items():
        if not ours and os.path.lexists(path) and (options.files.report or path not in tables[1:2]):
            raise UnusableInput(path, "is there already and vae-loc did not write it; remove it, or give another -o")


def declared(files: Mapping[Path, str], known: Sequence[Path], scan: Path) -> dict[Path, str]:
    """Return files of a scan or a person in the order of the names that are known.

    Raises
    ------
    OurBug : if one was written that the names do not declare, which could replace a file of the user's.
    """
    if undeclared := [path.name for path in files if path not in known]:
        raise OurBug(scan, LookupError(f"{undeclared[0]} is written, and the output names do not declare it"))
    return {path: files[path] for path in dict.fromkeys(known) if path in files}


def page_of(scores: Path) -> Path:
    """Return the path of the page of a scan or a person, beside the JSON."""
    return scores.with_name(scores.name.removesuffix(SCORES_ENDING) + PAGE_ENDING)


def is_page(path: Path) -> bool:
    """Return whether a file is a page that vae-loc made."""
    try:
        with opened(path, "a page") as file:
            return PAGE_MARK in file.read(PAGE_HEAD_BYTES)
    except UnusableInput:
        return False


def is_cohort_table(path: Path) -> bool:
    """Return whether a file is a cohort table of any version."""
    try:
        read_csv(path, "a cohort table", ["scan", "status", "scores"])
    except UnusableInput:
        return False
    return True


def group_table_paths(table: Path) -> list[Path]:
    """Return the paths of the tables beside a cohort table, or that of one part of it, and of their data dictionaries.

    >>> [path.name for path in group_table_paths(Path("cohort_part-1-of-2.csv"))][:2]
    ['findings_part-1-of-2.tsv', 'findings_part-1-of-2.json']
    """
    part = table.stem.removeprefix("cohort")
    return [table.with_name(f"{name}{part}{ending}") for name in GROUP_TABLES for ending in (".tsv", ".json")]


def is_group_table(path: Path) -> bool:
    """Return whether a file is one of those beside a cohort table, or its data dictionary."""
    try:
        with opened(path, "a table") as file:
            return file.read(PAGE_HEAD_BYTES).startswith((b"subject\tsession\t", b'{\n "subject": {'))
    except UnusableInput:
        return False
