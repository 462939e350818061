"""The images of one DICOM series, sorted by their headers: copies, odd images and repeated volumes; the repair of each.

Headers are rounded by archives: what differs by less than a reader can see is made equal, within the tolerances here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pydicom import Dataset

    Image = tuple[str, Dataset]  # the name of its file, its header

SAME_DIRECTION = 1e-4  # of direction cosines: 0.03 mm over a head; GE writes them with jitter in the 8th decimal
ROUNDED_MM = 0.1  # of positions: an archive that writes one decimal is .09 mm off in three coordinates at most
EVEN_SHARE = 0.005  # of the distance of slices, from which on positions are evened out
EVEN = 0.1  # of the usual distance of slices: more or less is a gap, or the same slice twice
EQUAL_TAGS = ("Rows", "Columns", "PixelSpacing", "ImageOrientationPatient", "FrameOfReferenceUID")  # in a volume
NAMED = 3  # odd images in a message
PER_MM = 50.0  # places per mm by which two images lie at the same place
MIN_SLICES = 5  # of a volume; a localizer has fewer of a kind
IDENTITY = ("SOPInstanceUID", "InstanceNumber", "ImagePositionPatient", "EchoTime", "ImageType")
DISTINGUISHING = ("EchoTime", "InversionTime", "ImageType", "TemporalPositionIdentifier", "AcquisitionNumber",
                  "TriggerTime", "DiffusionBValue", "AcquisitionTime")  # fmt: skip
IMAGE_TAGS = (*IDENTITY, *DISTINGUISHING, "ImageOrientationPatient")


def without_copies(images: Sequence[Image]) -> list[Image]:
    """Return the images without copies: files that state the same UID, number, place and echo are one image."""
    known: dict[tuple[str, ...], Image] = {}
    for name, header in images:
        known.setdefault(tuple(str(header.get(tag)) for tag in IDENTITY), (name, header))
    return list(known.values())


def volumes_of(images: Sequence[Image]) -> tuple[dict[str, list[Image]], list[Image]]:
    """Return the volumes among the images of a series, by what distinguishes them, and images of other orientations.

    One volume has the empty text; of several, each has the attribute that tells them apart, `EchoTime=14`.
    """
    many = [(name, header) for name, header in images if (header.get("NumberOfFrames") or 1) != 1]
    if many or len(images) < MIN_SLICES:  # enhanced files, each a volume
        named = {f"file={name}": [(name, header)] for name, header in many}
        return (named if len(many) > 1 and len(many) == len(images) else {"": list(images)}), []
    # the usual plane: orientation, rows and columns; pictures that refer to other series have another
    parts = (("ImageOrientationPatient", 6), ("Rows", 1), ("Columns", 1))
    planes = np.array([np.concatenate([vector(header, *part) for part in parts]) for _, header in images])
    _, kind_of, counts = np.unique(planes.round(3), axis=0, return_inverse=True, return_counts=True)
    usual = planes[int(np.argmax(kind_of.ravel() == counts.argmax()))]
    lies = np.abs(planes - usual).max(axis=1) <= SAME_DIRECTION
    if np.count_nonzero(~lies) > MIN_SLICES or np.count_nonzero(lies) < MIN_SLICES:
        return {"": list(images)}, []
    stack, odd = ([image for image, one in zip(images, lies, strict=True) if one == kept] for kept in (True, False))
    if not _overlap(stack):
        return {"": stack}, odd
    for tag in DISTINGUISHING:
        volumes: dict[str, list[Image]] = {}
        for image in stack:
            volumes.setdefault(f"{tag}={text_of(image[1], tag)}", []).append(image)
        if len(volumes) > 1 and all(len(of) >= MIN_SLICES and not _overlap(of) for of in volumes.values()):
            return volumes, odd
    return {"": stack}, odd


def _overlap(images: Sequence[Image]) -> bool:
    """Return whether two images lie at one place."""
    places = [vector(header, "ImagePositionPatient", 3) for _, header in images]
    return len({tuple(np.round(place * PER_MM)) for place in places}) < len(images)


def straighten(images: Sequence[Dataset]) -> None:
    """Make orientations equal and places evenly spaced, in place, where they differ by rounding alone."""
    planes = np.array([vector(image, "ImageOrientationPatient", 6) for image in images])
    if not np.isfinite(planes).all() or np.abs(planes - planes[0]).max() > SAME_DIRECTION:
        return
    for image in images:
        image.ImageOrientationPatient = images[0].ImageOrientationPatient
    places = np.array([vector(image, "ImagePositionPatient", 3) for image in images])
    heights = places @ np.cross(planes[0, :3], planes[0, 3:])
    ranks = np.argsort(np.argsort(heights, kind="stable"), kind="stable")
    terms = np.column_stack([np.ones(len(ranks)), ranks])
    even = terms @ np.linalg.lstsq(terms, places, rcond=None)[0]
    steps = np.diff(np.sort(heights))
    uneven = len(steps) > 1 and np.ptp(steps) > EVEN_SHARE * steps.mean()
    if uneven and np.linalg.norm(places - even, axis=1).max() <= min(ROUNDED_MM, steps.mean() / 4):
        for image, place in zip(images, even, strict=True):
            image.ImagePositionPatient = [f"{value:.10g}" for value in place]


def clean(image: Dataset) -> None:
    """Replace padding by the least intensity of the image, and remove overlays in unused high bits, in place."""
    padding, stored = image.get("PixelPaddingValue"), int(image.get("BitsStored") or 16)
    unused = int(image.get("BitsAllocated") or 16) - stored
    packed = image.file_meta.TransferSyntaxUID.is_encapsulated and 0 < unused <= 8
    if padding is None and not packed and image.get("NumberOfFrames"):
        return
    found = image.pixel_array  # which keeps it
    values = np.right_shift(np.left_shift(found, unused), unused) if packed else found.copy()
    if padding is not None:
        ends = np.array([int(padding), int(image.get("PixelPaddingRangeLimit", padding))])
        low, high = sorted(ends.astype(np.int64).astype(values.dtype))
        padded = (values >= low) & (values <= high)
        values[padded] = 0 if padded.all() else values[~padded].min()
    if not np.array_equal(values, found):
        image.set_pixel_data(values, str(image.PhotometricInterpretation), stored, generate_instance_uid=False)


def uneven(images: Sequence[Dataset], names: Sequence[str]) -> str:
    """Return a text on the images that do not go with the others, with the names of files; empty if none is odd."""
    for tag in EQUAL_TAGS:
        stated = [text_of(image, tag) for image in images]
        usual, count = Counter(stated).most_common(1)[0]
        odd = [name for name, value in zip(names, stated, strict=True) if value != usual]
        if odd and count > len(odd):
            more = ", ..." if len(odd) > NAMED else ""
            return f"; {', '.join(odd[:NAMED])}{more} with another {tag} than the other {count} images"
    normal = np.cross(*np.reshape(vector(images[0], "ImageOrientationPatient", 6), (2, 3)))
    heights = [float(vector(image, "ImagePositionPatient", 3) @ normal) for image in images]
    placed = sorted(zip(heights, names, strict=True))
    steps = np.diff([height for height, _ in placed])
    usual_mm = float(np.median(steps)) if len(steps) else 0.0
    said = [
        f"{'a gap' if step > usual_mm else 'the same slice twice' if step < EVEN * usual_mm else 'slices too near'} of "
        f"{step:.3g} mm between slices {n + 1} and {n + 2} at {low:.1f} and {high:.1f} mm along their normal ({a}, {b})"
        for n, (step, (low, a), (high, b)) in enumerate(zip(steps, placed, placed[1:], strict=False))
        if abs(step - usual_mm) > EVEN * usual_mm
    ]
    more = f", and {len(said) - NAMED} more" if len(said) > NAMED else ""
    return f"; {', '.join(said[:NAMED])}{more}, where {usual_mm:.3g} mm is usual" if said else ""


def vector(header: Dataset, tag: str, length: int) -> NDArray[np.float64]:
    """Return numbers of a header, float64 (length,); NaN where they are missing or of another number."""
    try:
        values = np.array([float(value) for value in np.atleast_1d(header.get(tag) or ())])
    except (TypeError, ValueError):
        values = np.array([])
    return values if values.shape == (length,) else np.full(length, np.nan)


def text_of(header: Dataset, tag: str) -> str:
    """Return a value of a header as text, several joined by spaces; empty if it is missing."""
    value = header.get(tag)
    parts = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else [value]
    return " ".join("" if part is None else str(part) for part in parts)
