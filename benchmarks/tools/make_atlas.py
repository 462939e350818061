"""Make the atlas of `vae_loc/scoring/atlas/` from the label maps of the IXI brains, and measure it by 5 folds.

    python -m benchmarks.tools.make_atlas --shared ../shared/data

Each brain is aligned to the template of a T1 model. Its map votes at 8 points for the label of each 3 mm pixel of its
own brain mask, so that a pixel at the surface has the label of the brains that reach it. The names of the labels in
`regions.tsv` are made by hand; this script refuses a label that has none.
"""

from __future__ import annotations

import argparse
import gzip
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import distance_transform_edt

from benchmarks.command import parser_of
from vae_loc.model.checkpoint import find_model, load_checkpoint
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM, CanonicalVolume, smooth_brain, to_canonical
from vae_loc.preprocessing.open_scan import open_scan
from vae_loc.preprocessing.pose import BRAIN_OFFSET
from vae_loc.scans.cases import find_cases
from vae_loc.scoring.anatomy import ATLAS_FOLDER, FLUID_LOBES, place_of, regions

SIDE = 64  # pixels of the atlas along each axis
PIXEL_MM = FIELD_OF_VIEW_MM / SIDE
FOLDS, SEED = 5, 0
MARGIN_MM = 9.0  # beyond the template's brain: a single brain is larger here and there
SUB_POINTS = np.array(list(np.ndindex(2, 2, 2))) / 2 - 0.25  # of a pixel, where a map votes
CENTRE = np.zeros((1, 3))
RIGHT_FLUID, LEFT_FLUID = 1, 2  # MUSE has one label for the fluid at the surface; here it has a side too
BESIDE_MIDDLE_MM = 9.0  # nearer to x = 0 a label's side is not checked
MAX_WRONG_SIDE = 0.05  # of a map's pixels: four maps of 155 have .29 to .46, all others less than .01
BALLS, RADIUS_MM = 20, 10.0  # findings of 4 ml for each brain
LABEL_COUNT = 1 + max(regions())


@dataclass(frozen=True)
class Subject:
    """One brain on the template.

    Attributes
    ----------
    name : of the subject
    votes : uint8 (8, P), its labels at the sub-points of P pixels in or near the template's brain, 0 outside its own
    truth : uint8 (N, N, N), its labels at the middle of each pixel
    mask : bool (N, N, N), its brain without a dark rim
    """

    name: str
    votes: np.ndarray
    truth: np.ndarray
    mask: np.ndarray


def main() -> None:
    """Write the atlas and its page."""
    parser = parser_of(__doc__, shared=True)
    parser.add_argument("--model", default="t1", help="a T1 model, by name or file; its template is the mean brain")
    parser.add_argument("--atlas", type=Path, default=ATLAS_FOLDER, help="folder for the two NIfTI files")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/measured/atlas.md"))
    options = parser.parse_args()
    template = load_checkpoint(find_model(options.model)).reference["template"].astype(np.float16).astype(np.float32)
    if len(template) != SIDE:
        raise SystemExit(f"{options.model}: expected a template of {SIDE} pixels a side, found {len(template)}")
    everyone = subjects(options.shared, template)
    faulty = [subject.name for subject in everyone if wrong_side(subject.truth) > MAX_WRONG_SIDE]
    used = [subject for subject in everyone if subject.name not in faulty]
    fold_of = np.random.default_rng(SEED).permutation(np.arange(len(used)) % FOLDS)
    counts = [votes([used[i] for i in np.flatnonzero(fold_of == fold)]) for fold in range(FOLDS)]
    labels = atlas_of(sum(counts), template)
    check(labels)
    write(options.atlas / "muse_majority.nii.gz", labels)
    write(options.atlas / "mean_brain.nii.gz", template)
    judged = [
        judgement(atlas_of(sum(counts) - counts[fold], template), subject, np.random.default_rng((SEED, number)))
        for number, (subject, fold) in enumerate(zip(used, fold_of, strict=True))
    ]
    text = page(labels[template > BRAIN_OFFSET], judged, faulty, options)
    options.output.write_text(text)
    print(text)


def subjects(shared: Path, template: np.ndarray) -> list[Subject]:
    """Return all IXI brains that can be aligned, with their label maps."""
    found, near = [], near_brain(template)
    for case in find_cases([shared / "ixi"], contrast="t1"):
        scan = open_scan(case)
        canonical = to_canonical(smooth_brain(scan.volume, scan.brain, image_size=SIDE), template=template)
        if canonical.warnings:
            raise SystemExit(f"{case.subject}: {canonical.warnings[0]}")
        image = nib.Nifti1Image.load(shared / f"muse/{case.subject}_muse.nii.gz")
        votes = (labels_at(image, canonical, SUB_POINTS) * canonical.mask)[:, near]
        truth = with_sided_fluid(labels_at(image, canonical, CENTRE)[0])
        found.append(Subject(case.subject, votes, truth, canonical.mask))
    return found


def labels_at(image: nib.Nifti1Image, canonical: CanonicalVolume, points: np.ndarray) -> np.ndarray:
    """Return the labels of a map nearest to points (M, 3) of each canonical pixel, uint8 (M, N, N, N), 0 outside."""
    labels = np.pad(np.asarray(image.dataobj, dtype=np.uint8), 1)
    pixel2voxel = np.linalg.inv(image.affine) @ canonical.grid.affine
    pixels = np.moveaxis(np.indices(canonical.grid.shape), 0, -1)
    found = []
    for point in points:
        voxels = np.rint((pixels + point) @ pixel2voxel[:3, :3].T + pixel2voxel[:3, 3] + 1).astype(int)
        found.append(labels[tuple(np.moveaxis(np.clip(voxels, 0, np.array(labels.shape) - 1), -1, 0))])
    return np.array(found)


def near_brain(template: np.ndarray) -> np.ndarray:
    """Return the template's brain and a margin, bool (N, N, N)."""
    return distance_transform_edt(template <= BRAIN_OFFSET) * PIXEL_MM <= MARGIN_MM


def votes(group: Sequence[Subject]) -> np.ndarray:
    """Return how often each pixel near the brain has each label, int32 (P, labels)."""
    count = group[0].votes.shape[1]
    first = np.arange(count) * LABEL_COUNT
    tallies = sum(np.bincount((first + s.votes).ravel(), minlength=count * LABEL_COUNT) for s in group)
    return tallies.reshape(count, LABEL_COUNT).astype(np.int32)


def atlas_of(counts: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Return the label with most votes in each pixel near the brain, uint8 (N, N, N); without votes, the nearest."""
    labels, near = np.zeros(template.shape, dtype=np.uint8), near_brain(template)
    labels[near] = np.where(counts[:, 1:].any(axis=1), 1 + counts[:, 1:].argmax(axis=1), 0)
    nearest = distance_transform_edt(labels == 0, return_distances=False, return_indices=True)
    return with_sided_fluid(np.where(near, labels[tuple(nearest)], 0).astype(np.uint8))


def with_sided_fluid(labels: np.ndarray) -> np.ndarray:
    """Return labels in which the fluid at the surface has the side of the nearest tissue that has one."""
    side = sides_of(labels)
    side[labels == RIGHT_FLUID] = 0
    nearest = distance_transform_edt(side == 0, return_distances=False, return_indices=True)
    left = (labels == RIGHT_FLUID) & (side[tuple(nearest)] < 0)
    return np.where(left, LEFT_FLUID, labels).astype(np.uint8)


def sides_of(labels: np.ndarray) -> np.ndarray:
    """Return -1 where a label is of the left, 1 where it is of the right, else 0, like the signs of x in RAS+."""
    signs = np.zeros(LABEL_COUNT, dtype=np.int8)
    for index, region in regions().items():
        signs[index] = {"left": -1, "right": 1, "midline": 0}[region.side]
    return signs[labels]


def wrong_side(labels: np.ndarray) -> float:
    """Return the share of labelled pixels away from the middle that lie on the other side than their label."""
    x_mm = (np.arange(len(labels)) - (len(labels) - 1) / 2) * PIXEL_MM
    side = np.where(np.abs(x_mm) > BESIDE_MIDDLE_MM, np.sign(x_mm), 0)[:, None, None] * sides_of(labels)
    return float(np.mean(side[side != 0] < 0))


def check(labels: np.ndarray) -> None:
    """Refuse an atlas with a label that has no name, or that lies on the wrong side."""
    if missing := set(np.unique(labels)) - {0, *regions()}:
        raise SystemExit(f"regions.tsv: expected a row for each label, none for {sorted(missing)}; add them")
    side = sides_of(labels)
    for index in np.unique(labels[side != 0]):
        here = labels == index
        if (np.argwhere(here)[:, 0].mean() - (len(labels) - 1) / 2) * side[here][0] <= 0:
            raise SystemExit(f"label {index}: expected {regions()[index]} on its own side of x = 0")


def write(path: Path, values: np.ndarray) -> None:
    """Write a cube with its middle at 0 mm, RAS+; same values, same bytes."""
    affine = np.diag([PIXEL_MM] * 3 + [1.0])
    affine[:3, 3] = -PIXEL_MM * (len(values) - 1) / 2
    path.write_bytes(gzip.compress(nib.Nifti1Image(values, affine).to_bytes(), 9, mtime=0))


@dataclass(frozen=True)
class Judgement:
    """An atlas against the map of a brain that it was not made of.

    Attributes
    ----------
    right : share of the brain's pixels with the right region, lobe, side; and of those that are no fluid
    named : share of balls with the right lobe, side, region
    lobe_dice, region_dice : by lobe, and by index
    """

    right: tuple[float, ...]
    named: tuple[float, ...]
    lobe_dice: dict[str, float]
    region_dice: dict[int, float]


def judgement(labels: np.ndarray, subject: Subject, rng: np.random.Generator) -> Judgement:
    """Compare an atlas with a brain's own map where the map has a label."""
    pixels = subject.mask & (subject.truth > 0)
    found, truth = labels[pixels], subject.truth[pixels]
    tissue = ~np.isin(lobes_of(truth), FLUID_LOBES)
    same = [of(found) == of(truth) for of in (np.asarray, lobes_of, sides_of)]
    right = [float(np.mean(equal[among])) for among in (slice(None), tissue) for equal in same]
    lobe_dice = {lobe: dice(lobes_of(found) == lobe, lobes_of(truth) == lobe) for lobe in lobe_names()}
    region_dice = {index: dice(found == index, truth == index) for index in regions() if (truth == index).any()}
    return Judgement(tuple(right), named(labels, subject, rng), lobe_dice, region_dice)


def named(labels: np.ndarray, subject: Subject, rng: np.random.Generator) -> tuple[float, ...]:
    """Return the share of balls in a brain that the atlas gives the lobe, side and region that the map gives them."""
    inside = np.argwhere(subject.mask & (subject.truth > 0))
    equal = []
    for centre in inside[rng.integers(len(inside), size=BALLS)]:
        offsets = (np.moveaxis(np.indices(labels.shape), 0, -1) - centre) * PIXEL_MM
        ball = subject.mask & (np.linalg.norm(offsets, axis=-1) <= RADIUS_MM)
        found, truth = place_of(ball, labels), place_of(ball, subject.truth)
        equal.append([getattr(found, part, None) == getattr(truth, part, None) for part in ("lobe", "side", "region")])
    return tuple(float(share) for share in np.mean(equal, axis=0))


def dice(found: np.ndarray, truth: np.ndarray) -> float:
    """Return the Dice of two masks; NaN if both are empty."""
    both = np.count_nonzero(found) + np.count_nonzero(truth)
    return 2 * np.count_nonzero(found & truth) / both if both else float("nan")


def lobe_names() -> list[str]:
    """Return the lobes and structures in alphabetical order."""
    return sorted({region.lobe for region in regions().values()})


def lobes_of(labels: np.ndarray) -> np.ndarray:
    """Return the lobe or structure of each label; no word where there is none."""
    table = np.array([regions()[i].lobe if i in regions() else "" for i in range(LABEL_COUNT)])
    return table[labels]


def page(labels: np.ndarray, judged: Sequence[Judgement], faulty: Sequence[str], options: argparse.Namespace) -> str:
    """Return the page of the documentation; `labels` are those of the template's brain."""
    right, balls = (np.mean([getattr(of, name) for of in judged], axis=0) for name in ("right", "named"))
    shares = [
        ("brain pixels", *right[:3]),
        ("brain pixels that are no fluid", *right[3:]),
        (f"balls of {RADIUS_MM:g} mm radius, {BALLS} in each brain", balls[2], balls[0], balls[1]),
    ]
    rows = [
        row(lobe, judged, [index for index, r in regions().items() if r.lobe == lobe], labels) for lobe in lobe_names()
    ]
    lost = sorted({region.name for index, region in regions().items() if index not in labels})
    return PAGE.format(
        model=options.model,
        machine=f"{platform.machine()}, one thread",
        used=len(judged),
        all=len(judged) + len(faulty),
        faulty=", ".join(faulty) or "none",
        limit=percent(MAX_WRONG_SIDE),
        folds=FOLDS,
        seed=SEED,
        shares="\n".join(f"| {name} | " + " | ".join(map(percent, of)) + " |" for name, *of in shares),
        rows="\n".join(rows),
        lost=", ".join(lost) or "none",
    )


def row(lobe: str, judged: Sequence[Judgement], indices: Sequence[int], labels: np.ndarray) -> str:
    """Return the row of a lobe: its ml, its Dice, the mean Dice of its regions, their number."""
    ml = np.isin(labels, indices).sum() * PIXEL_MM**3 / 1000
    whole = np.nanmean([of.lobe_dice[lobe] for of in judged])
    each = [np.nanmean([of.region_dice.get(index, np.nan) for of in judged]) for index in indices]
    return f"| {lobe} | {ml:.0f} | {whole:.2f} | {np.mean(each):.2f} | {len(indices)} |"


def percent(share: float) -> str:
    """Return a share of 0 to 1 in per cent."""
    return f"{100 * share:.3g} %"


PAGE = """# Atlas

The atlas names the side, the lobe and the region of a finding. It is a majority of automatic label maps.

Made by `python -m benchmarks.tools.make_atlas --model {model}` on {machine}, seed {seed}.
Data: the {all} IXI T1 scans of the project, and their MUSE label maps by DLMUSE (CBICA).
Each brain was aligned to the template of the model, affinely.
Each map voted at 8 points for the label of each 3 mm pixel of its own brain.
Left out, because the map has more than {limit} of its labels on the wrong side: {faulty}.

{folds} folds: each of {used} brains was compared with an atlas made from the brains of the other folds.
The template is the same in all folds; some of the brains that were judged are in it.
The reference is the brain's own MUSE map, which is automatic too.

| share with the right | region | lobe or structure | side |
|---|---|---|---|
{shares}

Regions of 3 mm pixels and an affine alignment are rough: a gyrus is a hint, the lobe is reliable.

Dice with the brain's own map, mean over brains.
It is given for the whole lobe or structure, both sides together, and as the mean of its regions.

| lobe or structure | ml in the mean brain | Dice, whole | Dice, mean of its regions | regions |
|---|---|---|---|---|
{rows}

The smallest structures win no pixel of 3 mm, so that no finding is named after them: {lost}.
"""


if __name__ == "__main__":
    main()
