"""Where a finding lies: side, lobe and region, by an atlas of the mean healthy brain (`atlas/README.md`).

The atlas lies on one mean brain. Another model's mean brain is aligned to it once, whatever its contrast; the brains
that the model scores are aligned to the model's mean brain already.
"""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vae_loc.preprocessing.pose import BRAIN_OFFSET, Affine, cube_affine
from vae_loc.preprocessing.registration import align
from vae_loc.preprocessing.resampling import Grid, low_passed, lowpass_sigmas, resampled
from vae_loc.scans.nifti import read_image
from vae_loc.system.blas_threads import one_blas_thread
from vae_loc.vocabulary import BoolArray, FloatArray

Side = Literal["left", "right", "both", "midline"]
Labels = NDArray[np.uint8]  # indices of `regions`, 0 where there is none

ATLAS_FOLDER = Path(__file__).parent / "atlas"
MIN_SIDE = 0.3  # of a finding's pixels in a lobe, from which on a side counts beside the other
VENTRICLES = ("lateral ventricle", "third ventricle", "fourth ventricle", "cistern behind the third ventricle")
FLUID_LOBES = ("surface cerebrospinal fluid", *VENTRICLES)
MAX_OTHERS, MIN_OTHER = 2, 0.05  # further regions of a finding that are named, and the share of it that each has
MIN_FLUID = 0.5  # of a finding's pixels: with less it is named after the tissue beside the fluid, as a tumour is
ELSEWHERE = "elsewhere"  # in no region
KEPT_ATLASES = 4  # atlases in memory of a process, one for each mean brain
ATLAS2MNI_MM = (  # of the atlas's mean brain, by benchmarks/measured/template_space.py
    (1.11253, -0.00048, -0.02386, -0.0635),
    (0.00033, 1.05833, 0.23416, -21.9765),
    (0.01448, -0.26502, 1.23266, 10.6759),
    (0.0, 0.0, 0.0, 1.0),
)


@dataclass(frozen=True)
class Region:
    """One region of the atlas; a structure without parts, as the brain stem, is its own lobe."""

    side: Literal["left", "right", "midline"]
    lobe: str
    name: str

    @property
    def words(self) -> str:
        """Side and name, such as `left hippocampus`, which no other region has."""
        return self.name if self.side == "midline" else f"{self.side} {self.name}"


@dataclass(frozen=True)
class Place:
    """Where a finding lies.

    Attributes
    ----------
    side : `both` if each side has `MIN_SIDE` of the lobe's pixels; `midline` for structures that have no sides
    lobe : the lobe or structure, such as `temporal lobe`
    region : the largest region of the finding in that lobe, such as `middle temporal gyrus`
    share : of the finding's pixels that lie in that region, 0 to 1
    others : the largest further regions on that side, in whatever lobe, and their shares
    """

    side: Side
    lobe: str
    region: str
    share: float
    others: Mapping[str, float] = field(default_factory=dict)

    def words(self) -> str:
        """Return the place as one phrase.

        >>> Place("left", "temporal lobe", "middle temporal gyrus", 0.6).words()
        'left temporal lobe (middle temporal gyrus, 60 %)'
        >>> Place("midline", "brain stem", "brain stem", 0.9).words()
        'brain stem (90 %)'
        >>> Place("left", "temporal lobe", "temporal white matter", 0.18, {"insula": 0.12}).words()
        'left temporal lobe (temporal white matter 18 %, insula 12 %)'
        """
        lobe = {
            "left": f"left {self.lobe}",
            "right": f"right {self.lobe}",
            "both": f"{self.lobe} on both sides",
            "midline": self.lobe,
        }[self.side]
        if self.others:
            shares = {self.region: self.share, **self.others}
            return f"{lobe} ({', '.join(f'{name} {100 * share:.0f} %' for name, share in shares.items())})"
        region = "" if self.region == self.lobe else f"{self.region}, "
        return f"{lobe} ({region}{100 * self.share:.0f} %)"


@dataclass(frozen=True)
class Atlas:
    """Labels on the mean brain that they were made on.

    Attributes
    ----------
    labels : uint8 (N, N, N), RAS+; the brain and a margin around it
    mean_brain : float32 (N, N, N), a template as `build_template` makes it
    pixel_mm : edge of a pixel in mm; the middle of the cube is at 0 mm
    """

    labels: Labels
    mean_brain: FloatArray
    pixel_mm: float


def place_of(pixels: BoolArray, labels: Labels) -> Place | None:
    """Return the place of a finding, or None if none of its pixels is labelled.

    The lobe is the one with most pixels, both sides together; fluid counts only with more than `MIN_FLUID`. The side
    is looked for in that lobe, and the region on that side of it.

    Parameters
    ----------
    pixels : bool (I, I, I), the finding on the canonical grid
    labels : uint8 (I, I, I), what `labels_for` returned
    """
    # the region of each labelled pixel, in the order of the atlas
    of = [regions()[index] for index in sorted(labels[pixels].tolist()) if index]
    if not of:
        return None
    lobes = Counter(region.lobe for region in of)
    fluid = Counter({lobe: lobes[lobe] for lobe in FLUID_LOBES})
    counting = fluid if fluid.total() > MIN_FLUID * lobes.total() else lobes - fluid
    lobe = counting.most_common(1)[0][0]
    named = [region for region in of if counting[region.lobe]]
    of = [region for region in of if region.lobe == lobe]
    sides = Counter(region.side for region in of)
    both = min(sides["left"], sides["right"]) >= MIN_SIDE * sides.total()
    side: Side = "both" if both else sides.most_common(1)[0][0]
    ((name, count),) = Counter(region.name for region in of if side in ("both", region.side)).most_common(1)
    # the largest regions beside it, on that side or on none
    counts = Counter(region.name for region in named if side == "both" or region.side in (side, "midline"))
    del counts[name]
    size = int(np.count_nonzero(pixels))
    others = {other: of / size for other, of in counts.most_common(MAX_OTHERS) if of >= MIN_OTHER * size}
    return Place(side, lobe, name, count / size, others)


def labels_for(template: FloatArray, pixel_mm: float) -> Labels:
    """Return the atlas on the canonical grid of a model, uint8 (I, I, I), read-only; made once for the same template.

    Parameters
    ----------
    template : float32 (I, I, I), the mean brain of the model
    pixel_mm : edge of a canonical pixel in mm

    Each pixel has the label at its middle. All are 0 if the template cannot be aligned to the atlas.
    """
    return _labels(np.ascontiguousarray(template, dtype=np.float32).tobytes(), len(template), pixel_mm)


@one_blas_thread()
def template2mni_mm(template: FloatArray, pixel_mm: float) -> Affine | None:
    """Return the affine (4, 4) from mm on a model's mean brain to mm of `MNI`; parameters as of `labels_for`.

    None if the template cannot be aligned to the atlas.
    """
    raw = np.ascontiguousarray(template, dtype=np.float32).tobytes()
    template2atlas = _template2atlas(raw, len(template), pixel_mm)
    return None if template2atlas is None else np.array(ATLAS2MNI_MM) @ template2atlas


@functools.cache
def atlas() -> Atlas:
    """Return the atlas of the package, read once in a process."""
    names = "muse_majority", "mean_brain"
    (_, labels), (header, brain) = (
        read_image(ATLAS_FOLDER / f"{name}.nii.gz", lambda _: 0, may_be_sparse=True) for name in names
    )
    pixel_mm = float(header.get_zooms()[0])
    return Atlas(np.asarray(labels, dtype=np.uint8), np.asarray(brain, dtype=np.float32), pixel_mm)


@functools.cache
def regions() -> Mapping[int, Region]:
    """Return the regions by their index in the labels, read once in a process."""
    with open(ATLAS_FOLDER / "regions.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    sides: dict[str, Literal["left", "right", "midline"]] = {"left": "left", "right": "right", "midline": "midline"}
    return {int(row["index"]): Region(sides[row["side"]], row["lobe"], row["region"]) for row in rows}


@functools.lru_cache(maxsize=KEPT_ATLASES)
def _labels(raw: bytes, size: int, pixel_mm: float) -> Labels:
    """Return `labels_for` a template given by its bytes, float32, C order."""
    template2atlas = _template2atlas(raw, size, pixel_mm)
    labels: Labels = np.zeros((size,) * 3, dtype=np.uint8)
    if template2atlas is not None:
        # the label nearest to the middle of each pixel; outside the atlas, the 0 of its border
        bordered = np.pad(atlas().labels, 1)
        mm2voxel = np.linalg.inv(cube_affine(len(bordered), atlas().pixel_mm)) @ template2atlas
        steps = np.ix_(*(np.arange(size, dtype=np.float32),) * 3)
        rows = (mm2voxel @ cube_affine(size, pixel_mm))[:3]
        at = (sum(factor * step for factor, step in zip(row, steps, strict=False)) + row[3] for row in rows)
        labels = bordered[tuple(np.clip(np.rint(axis), 0, len(bordered) - 1).astype(np.intp) for axis in at)]
    labels.flags.writeable = False
    return labels


@functools.lru_cache(maxsize=KEPT_ATLASES)
def _template2atlas(raw: bytes, size: int, pixel_mm: float) -> Affine | None:
    """Return the affine (4, 4) from mm of a template, given by its bytes, to atlas mm; None if it cannot be aligned."""
    template = np.frombuffer(raw, dtype=np.float32).reshape((size,) * 3)
    mean_brain, atlas_mm = atlas().mean_brain, atlas().pixel_mm
    if np.array_equal(template.astype(np.float16), mean_brain.astype(np.float16)):
        return np.eye(4)
    grid = Grid((len(mean_brain),) * 3, cube_affine(len(mean_brain), atlas_mm), atlas_mm)
    smooth = low_passed(template, lowpass_sigmas((pixel_mm,) * 3, atlas_mm))
    image = resampled(smooth, cube_affine(len(template), pixel_mm), grid)
    atlas2template, fits = align(image, image > BRAIN_OFFSET, mean_brain, atlas_mm)
    return np.linalg.inv(atlas2template).astype(np.float64) if fits else None
