"""A scores JSON -> the scan that it is of, its names and its maps, as they were when findings were taken from them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from vae_loc.errors import UnusableInput, UnusableModel
from vae_loc.model.network import Model, load_model
from vae_loc.model.shipped import shipped_models
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume
from vae_loc.preprocessing.open_scan import Scan, open_scan
from vae_loc.preprocessing.resampling import Grid
from vae_loc.results.output_names import PERSON_SCORES, SIGNED, FolderNames
from vae_loc.results.persons.common_grid import read_output
from vae_loc.results.scan_summary import ScanSummary, read_summary
from vae_loc.results.stored.signed_map import read_signed
from vae_loc.scans.bids_dataset import DESCRIPTION
from vae_loc.scans.cases import NIFTI_SUFFIXES, Case, contrast_of, find_cases, subject_of
from vae_loc.scans.nifti import pair
from vae_loc.scans.own_outputs import SCORES_ENDING
from vae_loc.scoring.locate import Located, SampleScores
from vae_loc.system.reading import are_whole, sha256_of
from vae_loc.vocabulary import SAMPLE_SCORES, BrainMask, FloatArray, Method

LOOKS = (".png", ".html")  # endings of what is made anew, so that it may be missing or damaged
ML_DIGITS = 1e-6  # two volumes of a brain in ml are those of one mask if they differ by less, as a share


@dataclass(frozen=True)
class StoredScan:
    """What an earlier run left of one scan.

    Attributes
    ----------
    scores : its scores JSON
    summary : the content of that
    row : its row in the cohort table; empty if there is none
    """

    scores: Path
    summary: ScanSummary
    row: Mapping[str, str]

    @property
    def name(self) -> str:
        """What the names of its outputs begin with."""
        return self.scores.name.removesuffix(SCORES_ENDING)

    @cached_property
    def case(self) -> Case:
        """The scan; its contrast is stated only where its file name does not tell contrast and subject."""
        stated = Path(self.summary.scan)
        places = [stated, *_paths(self.row, "scan"), self.scores.parent / stated.name]
        scan = next(iter(_there(places)), stated)
        subject = self.row.get("subject") or subject_of(scan)
        named = contrast_of(scan) is not None and subject == subject_of(scan)
        mask = next(iter(_paths(self.row, "mask")), None)
        return Case(scan, subject, mask, None if named else self.summary.model.contrast)

    @cached_property
    def names(self) -> FolderNames:
        """The names of its outputs.

        Raises
        ------
        UnusableInput : if the files that the JSON names are not called as those of `segment` are.
        """
        folder, scan = self.scores.parent, self.case.scan
        files = [folder / f"{self.name}{ending}" for ending in NIFTI_SUFFIXES] if len(self.summary.maps) == 1 else []
        usual = FolderNames(folder, None, {scan: self.name}, polarity=self.summary.polarity)
        for names in [usual, *(FolderNames(folder, file) for file in files)]:
            maps = [names.path(scan, method, "anomaly.nii.gz").name for method in self.summary.maps]
            if all(name in self.summary.files for name in maps):
                return names
        raise UnusableInput(self.scores, "expected maps beside it that `segment` wrote, it names others; segment again")


@dataclass(frozen=True, kw_only=True)
class StoredMaps(Located):
    """The maps of a scan as they were stored; of the brain on the canonical grid only the place is known.

    Attributes
    ----------
    on_grid : float32 (I, J, K) >= 0 on the scan's own grid for each method
    grids : where each signed map lies
    """

    on_grid: dict[Method, FloatArray]
    grids: dict[Method, Grid]

    @cached_property
    def maps(self) -> dict[Method, FloatArray]:
        """Float32 (I, J, K) >= 0 on the scan's own grid for each method, zero outside the brain."""
        return self.on_grid

    def frame(self, method: Method) -> CanonicalVolume:
        """Return the grid of a signed map, with the map instead of intensities."""
        signed = self.signed_maps[method]
        return CanonicalVolume(signed, signed != 0, self.grids[method])


def scores_in(folder: Path) -> list[Path]:
    """Return the scores JSONs of scans in a folder, by name.

    Raises
    ------
    UnusableInput : if there is none, or the folder holds derivatives of a BIDS dataset.
    """
    if (folder / DESCRIPTION).exists():
        mend = "run `vae-loc bids` again with --report and the options wanted"
        raise UnusableInput(folder, f"expected a folder of `segment` or `score`, found a BIDS dataset; {mend}")
    if not folder.is_dir():
        raise UnusableInput(folder, "expected the folder that `segment` or `score` wrote into, found none")
    found = sorted(path for path in folder.glob(f"*{SCORES_ENDING}") if not path.name.endswith(PERSON_SCORES))
    if not found:
        raise UnusableInput(folder, "expected scores of scans (*_scores.json), found none; run `vae-loc segment` first")
    return found


def stored_scan(scores: Path, rows: Sequence[Mapping[str, str]]) -> StoredScan:
    """Return what an earlier run left of a scan.

    Parameters
    ----------
    rows : of the cohort tables in its folder

    Raises
    ------
    UnusableInput : if the scores JSON cannot be read.
    """
    row = next((row for row in rows if row.get("scores") == scores.name), {})
    return StoredScan(scores, read_summary(scores), row)


def restored(stored: StoredScan) -> Located:
    """Return the maps of a scan as they were scored: the scan is read and its brain is found again, as it was then.

    Raises
    ------
    UnusableInput : if the scan, its mask, or a file that was made of it is missing or changed since.
    """
    summary, names = stored.summary, stored.names
    _refuse_changed(stored)
    scan = _opened(stored)
    grids, signed, on_grid = {}, {}, {}
    for method, about in summary.maps.items():
        path = names.path(stored.case.scan, method, SIGNED)
        if path.name not in summary.files or about.signed2ras_mm is None:
            raise UnusableInput(path, "expected the signed map, which earlier versions did not store; segment again")
        signed[method] = read_signed(path)
        side = signed[method].shape[0]
        grids[method] = Grid((side, side, side), np.array(about.signed2ras_mm), FIELD_OF_VIEW_MM / side)
        on_grid[method] = read_output(names.path(stored.case.scan, method, "anomaly.nii.gz")).data
    first = next(iter(summary.maps))
    return StoredMaps(
        scan=scan,
        canonical=CanonicalVolume(signed[first], signed[first] != 0, grids[first]),
        signed_maps=signed,
        signed_raw_maps={},
        scores=_samples(summary),
        warnings=tuple(summary.warnings),
        bare=bool(summary.options.get("raw")),
        refusals=tuple(summary.forced),
        on_grid=on_grid,
        grids=grids,
    )


def model_of(stored: StoredScan, named: str | None) -> Model:
    """Return the model that scored a scan: the one that is named, or a shipped one.

    Raises
    ------
    UnusableModel : if it is neither.
    """
    digest, contrast = stored.summary.model.sha256, stored.summary.model.contrast
    shipped = sorted(shipped_models(), key=lambda name: name != contrast)
    for name in [named, *shipped] if named else shipped:
        if (model := load_model(name)).digest == digest:
            return model
    said = f"the model {digest[:12]} scored it, which is no shipped one; name its file with --model"
    raise UnusableModel(stored.scores, f"expected the model of the scan, {said}")


def _refuse_changed(stored: StoredScan) -> None:
    """Refuse a scan, or a file of its maps and findings, that is not what the JSON states any more."""
    case, inputs = stored.case, stored.summary.inputs
    if not _there([case.scan]):
        mend = "put it there again, or start where it was scored"
        raise UnusableInput(case.scan, f"expected the scan of {stored.scores.name}, found none; {mend}")
    if sha256_of(*dict.fromkeys(pair(case.scan))) != inputs.scan:
        raise UnusableInput(case.scan, f"has changed since {stored.scores.name} was written; segment it again")
    for name, digest in stored.summary.files.items():
        path = stored.scores.parent / name
        if not name.endswith(LOOKS) and not are_whole({path: digest}):
            said = f"expected what was written with {stored.scores.name}, found no such file or another"
            raise UnusableInput(path, f"{said}; segment again")


def _opened(stored: StoredScan) -> Scan:
    """Return a scan with its brain, which must be the one that was scored."""
    summary, volume = stored.summary, stored.summary.options.get("volume")
    number = volume if isinstance(volume, int) else None
    scan = open_scan(stored.case, brain_mask=_brain_mask(stored), volume=number)
    if not math.isclose(scan.brain_ml, summary.brain_ml, rel_tol=ML_DIGITS):
        found = f"found one of {scan.brain_ml:.1f} ml; segment again"
        raise UnusableInput(stored.case.scan, f"expected the brain that was scored, {summary.brain_ml:.1f} ml, {found}")
    return scan


def _brain_mask(stored: StoredScan) -> BrainMask:
    """Return how the brain was found: by a mask file, which must be unchanged, by the whole volume, or by itself."""
    digest, option = stored.summary.inputs.brain_mask, str(stored.summary.options.get("brain_mask"))
    if digest is None:
        return "none" if stored.summary.brain_mask == "none" else "auto"
    beside = find_cases([stored.case.scan])[0].brain_mask
    known = [Path(option), *_paths(stored.row, "mask"), *([beside] if beside else [])]
    for mask in _there(known):
        if sha256_of(*dict.fromkeys(pair(mask))) == digest:
            return mask
    raise UnusableInput(stored.case.scan, "expected the brain mask that was used, found none or another; segment again")


def _samples(summary: ScanSummary) -> SampleScores:
    """Return the sample-wise scores of a JSON."""
    slices = summary.slices
    return SampleScores(
        np.array([one.z_mm for one in slices]),
        np.array([one.counted for one in slices]),
        {name: np.array([getattr(one, name) for one in slices]) for name in SAMPLE_SCORES},
        {name: getattr(summary.volume, name) for name in SAMPLE_SCORES},
    )


def _paths(row: Mapping[str, str], column: str) -> list[Path]:
    return [Path(row[column])] if row.get(column) else []


def _there(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]
