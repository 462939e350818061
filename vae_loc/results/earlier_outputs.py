"""The outputs of an earlier run of a scan: which are still true, so that they stay, and which contradict the new ones.

An output is still true if it is of the same scan, brain mask, model, version and options that shape maps (`SHAPING`).
Maps of other methods stay, and so do the masks of maps that are not segmented again. A page stays if
every file that it shows stays as it was. What stays is listed in the new scores JSON.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.results.output_names import KINDS, MASK_KINDS, OutputNames, declared
from vae_loc.results.scan_summary import Inputs, MaskSummary, ScanSummary, read_summary
from vae_loc.scans.own_outputs import files_of
from vae_loc.scans.volume import Volume, read_numbers, stem
from vae_loc.scoring.score_options import ScoreOptions
from vae_loc.scoring.segmentation import SegmentedMap
from vae_loc.system.reading import are_whole, opened, sha256_of
from vae_loc.system.versions import own_version
from vae_loc.vocabulary import MAPS, Method

SHAPING = ("contrast", "brain_mask", "volume", "polarity", "raw", "force")  # options that shape every map
NUMBERED, SEGMENTATION_HEAD_BYTES = "dseg.nii.gz", 1 << 16  # the end of a name, and how much of a file names its maker


@dataclass(frozen=True)
class Earlier:
    """Outputs of an earlier run of a scan that are still true.

    Attributes
    ----------
    files : all files that its scores JSON names, with their SHA-256
    summary : the content of the JSON; None if nothing is still true
    """

    names: OutputNames
    scan: Path
    files: Mapping[Path, str]
    summary: ScanSummary | None = None

    @cached_property
    def whole(self) -> dict[Path, str]:
        """The files that are there, unchanged, and still true; each is read once."""
        return {path: digest for path, digest in self.files.items() if self.summary and are_whole({path: digest})}

    def by(self, model: str) -> Earlier:
        """Return the same, of which nothing is still true if it is not by the model with this SHA-256."""
        return self if self.summary is None or self.summary.model.sha256 == model else replace(self, summary=None)

    def mask(self, method: Method) -> MaskSummary | None:
        """Return the mask of a map, None unless it is whole."""
        masks = (self.summary.masks if self.summary else None) or {}
        paths = [self.names.path(self.scan, method, kind) for kind in MASK_KINDS]
        return masks.get(method) if all(path in self.whole for path in paths) else None

    def segmented(self, volume: Volume, method: Method) -> SegmentedMap | None:
        """Return the findings of a map as they were written, None unless they are whole."""
        mask = self.mask(method)
        if mask is None:
            return None
        numbers = read_numbers(self.names.path(self.scan, method, NUMBERED), volume)
        return SegmentedMap(numbers, tuple(mask.findings), mask.rule)

    def joined(self, new: ScanSummary, written: Container[Path]) -> ScanSummary:
        """Return a new summary with the maps of other methods that are still true, and their masks."""
        if self.summary is None:
            return new
        maps = self.summary.maps | new.maps  # the earlier first, so that nothing else changes
        paths = {
            method: self.names.path(self.scan, method, "anomaly.nii.gz") for method in maps.keys() - new.maps.keys()
        }
        stay = {method for method, path in paths.items() if path in self.whole and path not in written}
        masks = {method: self.mask(method) if method in stay else (new.masks or {}).get(method) for method in maps}
        joined = {
            "maps": {method: about for method, about in maps.items() if method in new.maps or method in stay},
            "masks": {method: mask for method, mask in masks.items() if mask} or None,
        }
        return new.model_copy(update=joined)

    def completed(
        self, new: ScanSummary, written: Mapping[Path, str], *, shown: Sequence[Method] | None
    ) -> tuple[ScanSummary, dict[Path, str]]:
        """Return a new summary with all files of the scan and options that state them, and these files.

        Those that stay beside the new ones are of maps and masks that are still true, in each space. A page stays if
        all that it was made of is as it was.

        Parameters
        ----------
        shown : the maps on a page that was written

        Raises
        ------
        OurBug : if a file was written that the names do not declare.
        """
        names, scan, page = self.names, self.scan, self.names.page(self.scan)
        masks, found, old_options = new.masks or {}, dict(written), dict[str, object]()
        there = names.in_template
        in_template = there.of_maps(scan, MAPS)
        # what stays
        if self.summary is not None:
            old, old_options = self.summary.masks or {}, self.summary.options
            of_maps = (
                names.path(scan, method, kind)
                for method in new.maps
                for kind in KINDS
                if method in self.summary.maps and (kind not in MASK_KINDS or method in masks)
            )
            found |= {path: self.whole[path] for path in of_maps if path in self.whole and path not in written}
            same = {path for path, digest in self.files.items() if found.get(path) == digest}
            if same | {page, *in_template} >= self.files.keys() and all(masks.get(m) == old[m] for m in old):
                found = {path: self.whole[path] for path in [page] if path in self.whole} | found
            # in the space of the template, masks of the same findings, and maps of the same values
            changed = [(m, MASK_KINDS[:2]) for m in old if masks.get(m) != old[m]]
            changed += [(m, KINDS[:2]) for m in self.summary.maps if names.path(scan, m, KINDS[0]) not in same]
            stale = {there.path(scan, m, kind).name.partition(".")[0] for m, kinds in changed for kind in kinds}
            still = [path for path in in_template if path in self.whole and path.name.partition(".")[0] not in stale]
            found = {path: self.whole[path] for path in still} | found
        files = declared(found, names.all_paths(scan, [*new.maps, *MAPS]), scan)
        options = new.options | {
            "methods": list(new.maps),
            "percentile": any(names.path(scan, method, "percentile.nii.gz") in files for method in new.maps),
            "template_space": not files.keys().isdisjoint(in_template),
            "report": shown or (old_options["report"] if page in files else []),
            "segmentation": new.options["segmentation"] or (old_options["segmentation"] if new.masks else None),
        }
        stated = stated_files(files, names.scores(scan).parent)
        return new.model_copy(update={"options": options, "files": stated}), files


def stated_files(files: Mapping[Path, str], folder: Path) -> dict[str, str]:
    """Return files as the JSON in a folder names them."""
    return {Path(os.path.relpath(path, folder)).as_posix(): digest for path, digest in files.items()}


def earlier_outputs(names: OutputNames, scan: Path, options: ScoreOptions, inputs: Inputs) -> Earlier:
    """Return the outputs that an earlier run left of a scan; those of any model are taken for true (`Earlier.by`)."""
    scores = names.scores(scan)
    ours = {os.path.normpath(path): path for path in names.all_paths(scan, MAPS)}  # a JSON names some by `../`
    files = {ours.get(os.path.normpath(path), path): digest for path, digest in files_of(scores).items()}
    try:
        summary = read_summary(scores)
    except UnusableInput:
        return Earlier(names, scan, files)
    named = {os.path.normpath(scores.parent / name): digest for name, digest in summary.files.items()}
    files |= {ours[path]: digest for path, digest in named.items() if path in ours}  # also in other folders
    stated = options.stated()
    shaping = all(summary.options.get(name) == stated.get(name) for name in SHAPING)
    true = summary.inputs == inputs and shaping and summary.versions.get("vae-loc") == own_version()
    return Earlier(names, scan, files, summary if true else None)


def remove_stale(older: Mapping[Path, str], kept: Mapping[Path, str] | Sequence[Path]) -> None:
    """Remove the files of an earlier run that are not kept, unless someone has changed them."""
    for path, digest in older.items():
        if path not in kept:
            with contextlib.suppress(OSError):  # what cannot be removed is no reason to fail
                if path.is_file() and sha256_of(path) == digest:
                    path.unlink()


def remove_segmentations(older: Mapping[Path, str], new: Mapping[Path, str]) -> None:
    """Remove the DICOM Segmentations that were made of numbered masks which are not as they were."""
    for numbered in {*older, *new}:
        path = numbered.with_name(f"{stem(numbered)}.dcm")
        same = older.get(numbered) == new.get(numbered)
        if numbered.name.endswith(NUMBERED) and not same and path.is_file():
            with opened(path, "a DICOM Segmentation") as file:
                head = file.read(SEGMENTATION_HEAD_BYTES)
            if head[128:132] == b"DICM" and b"vae-loc" in head:
                path.unlink()
