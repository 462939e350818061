"""A BIDS dataset -> its scans (BIDS 1.10)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.scans.cases import Case, contrast_of

SCANS = ("sub-*/anat/sub-*", "sub-*/ses-*/anat/sub-*")
SUFFIXES = {"t1": "T1w", "t2": "T2w", "flair": "FLAIR"}
DESCRIPTION = "dataset_description.json"


def find_scans(
    raw: Path, *, contrast: str | None, participants: Sequence[str] = (), sessions: Sequence[str] = ()
) -> list[Case]:
    """Return the T1w, T2w and FLAIR scans of a BIDS dataset, or those of one contrast.

    Parameters
    ----------
    participants, sessions : labels, with or without `sub-` and `ses-`; empty for all

    Raises
    ------
    UnusableInput : if a participant, or every scan, is missing.
    """
    suffixes = list(SUFFIXES.values()) if contrast is None else [SUFFIXES[contrast]]
    paths = {path for pattern in SCANS for path in raw.glob(f"{pattern}.nii*")}
    scans = [path for path in sorted(paths) if re.search(rf"_({'|'.join(suffixes)})\.nii(\.gz)?$", path.name)]
    wanted, inside = ({f"{kind}-{name.removeprefix(kind + '-')}" for name in names}
                      for kind, names in (("sub", participants), ("ses", sessions)))  # fmt: skip
    absent = sorted(wanted - {path.relative_to(raw).parts[0] for path in scans})
    if absent:
        raise UnusableInput(raw, f"expected a {' or '.join(suffixes)} of {', '.join(absent)}, found none")
    chosen = [
        path
        for path in scans
        if (not wanted or path.relative_to(raw).parts[0] in wanted)
        and (not inside or path.relative_to(raw).parts[1] in inside)
    ]
    if not chosen:
        raise UnusableInput(raw, f"found no {' or '.join(suffixes)} in sub-*/[ses-*/]anat/; check --contrast")
    return [Case(path, path.relative_to(raw).parts[0], None, contrast_of(path)) for path in chosen]


def check_dataset(raw: Path) -> None:
    """Refuse a folder that does not say that it is a BIDS dataset.

    Raises
    ------
    UnusableInput : naming what is missing. No more is checked: the official validator does that.
    """
    if not (raw / DESCRIPTION).is_file():
        raise UnusableInput(raw / DESCRIPTION, "found none: no BIDS dataset; --skip-bids-validation takes it for one")
