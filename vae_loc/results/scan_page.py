"""One scan's report as a web page: one file, nothing from elsewhere, a viewer where the browser can draw one."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vae_loc.errors import UnusableInput, printable
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.network import Model
from vae_loc.preprocessing.canonical import FIELD_OF_VIEW_MM
from vae_loc.results.montage import BRIGHT, DARK
from vae_loc.results.output_names import PAGE_ENDING
from vae_loc.results.page_parts import STEPS, crop_to, expected_scan, layer, profile, strips, viewer_data
from vae_loc.results.scan_summary import ScanSummary
from vae_loc.scoring.finding_model import about_ml, nothing_found
from vae_loc.scoring.locate import Located
from vae_loc.scoring.score_options import DEFAULT_FPR
from vae_loc.scoring.segmentation import Numbers
from vae_loc.system.reading import opened
from vae_loc.vocabulary import FloatArray, Method

if TYPE_CHECKING:
    from jinja2 import Environment

RESULTS = Path(__file__).parent
NIIVUE = RESULTS / "vendor" / "niivue" / "niivue.umd.js"
STORED_PERCENTILES = (0.1, 99.9)  # what the 256 steps of the shown scan span
WINDOWS = {"normal": (1, 99), "narrow": (10, 90), "wide": STORED_PERCENTILES}  # of the brain's, black to white
MAX_CEILINGS = 4  # a bare score's highest voxels would leave no steps for the others
JPEG_QUALITY = 85
Shares = tuple[float, float, float, float]  # left, top, right, bottom
MAX_PICTURE_BYTES = 50_000_000
CITATION = (
    "Zimmerer D, Isensee F, Petersen J, Kohl S, Maier-Hein K. Unsupervised Anomaly Localization using Variational "
    "Auto-Encoders. MICCAI 2019. arXiv:1907.02796"
)


@dataclass(frozen=True)
class Picture:
    """One map as the page shows it.

    Attributes
    ----------
    signed : float32 (I, J, K) on the scan's grid, > 0 where brighter and < 0 where darker than expected
    numbers : of the findings, (I, J, K), or None if nothing was segmented
    ceiling : score shown at full colour
    montage : bytes of the PNG
    """

    signed: FloatArray
    numbers: Numbers | None
    ceiling: float
    montage: bytes


def scan_page(located: Located, model: Model, pictures: Mapping[Method, Picture], summary: ScanSummary) -> bytes:
    """Return the page of a scan, UTF-8. The same scan, model and options give the same bytes.

    Parameters
    ----------
    pictures : all maps; the page opens with Combi if it is among them
    summary : the content of the scores JSON

    The page holds the scan itself, cropped to the brain: it is as confidential as the scan.
    """
    pictures = {method: pictures[method] for method in sorted(pictures, key=lambda method: method != "combi")}
    maps = [_map_facts(method, picture, located, model, summary) for method, picture in pictures.items()]
    page = environment().get_template("scan.html")
    text = page.render(
        name=printable(located.volume.path.name),
        summary=summary,
        facts=model.facts,
        strips=strips(located, model),
        profile=profile(located, model),
        maps=maps,
        viewer=_viewer(located, model, pictures, maps),
        bare=located.bare,
        citation=CITATION,
    )
    return text.encode("utf-8")


def environment() -> Environment:
    """Return the templates, which escape all that is put into them."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    templates = Environment(
        loader=FileSystemLoader(RESULTS / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["own"] = lambda name: Markup((RESULTS / "templates" / name).read_text("utf-8"))  # noqa: S704 - ours
    templates.globals["niivue"] = lambda: Markup(NIIVUE.read_text("utf-8"))  # noqa: S704 - vendored
    templates.filters |= {"percentile": percentile_words, "about": about_ml}
    return templates


def percentile_words(percentile: float | None) -> str:
    """Return a percentile among healthy scans in words.

    >>> percentile_words(100.0), percentile_words(97.21), percentile_words(None)
    ('above every healthy one', 'percentile 97.2', 'unknown')
    """
    if percentile is None:
        return "unknown"
    if percentile >= 100:
        return "above every healthy one"
    return "below every healthy one" if percentile <= 0 else f"percentile {percentile:.1f}"


def jpeg(png: bytes, *, quality: int = JPEG_QUALITY, width: int | None = None, box: Shares = (0, 0, 1, 1)) -> str:
    """Return a picture as base64 of a JPEG, not wider than `width` pixels.

    `box` cuts it first: left, top, right, bottom, as shares of its sides.
    """
    from PIL import Image

    with Image.open(io.BytesIO(png)) as picture:
        sides = (picture.width, picture.height) * 2
        cut = [round(share * side) for share, side in zip(box, sides, strict=True)]
        shown = picture.convert("RGB").crop((cut[0], cut[1], cut[2], cut[3]))
    if width is not None and width < shown.width:
        shown = shown.resize((width, round(shown.height * width / shown.width)), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    shown.save(buffer, "JPEG", quality=quality, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def look_of(scores: Path, files: Iterable[str]) -> tuple[Path | None, Path | None]:
    """Return the picture and the page among the files that a scores JSON names; None where it names none."""
    named = [scores.parent / name for name in files]
    picture, page = (
        next((file for file in named if file.name.endswith(ending)), None) for ending in ("_anomaly.png", PAGE_ENDING)
    )
    return picture, page


def stored_jpeg(picture: Path | None, turned: Callable[[bytes], str] = jpeg) -> str | None:
    """Return a stored picture as `jpeg` or `turned` does; None if it is not there any more, or damaged."""
    if picture is None:
        return None
    try:
        with opened(picture, "a picture") as file:
            return turned(file.read(MAX_PICTURE_BYTES))
    except (UnusableInput, OSError):
        return None


def _map_facts(
    method: Method, picture: Picture, located: Located, model: Model, summary: ScanSummary
) -> dict[str, object]:
    """Return the facts of one map on the page: picture, share above the threshold, findings.

    The threshold is that of the mask, else the healthy one at `DEFAULT_FPR`, else None.
    """
    mask, threshold = (summary.masks or {}).get(method), None
    if mask:
        threshold = mask.threshold
    elif model.facts.healthy is not None:
        threshold = healthy_threshold(model.checkpoint, method, DEFAULT_FPR, raw=located.bare)
    above = None if threshold is None else float(np.mean(np.abs(picture.signed[located.brain]) > threshold))
    return {
        "method": method,
        "montage": jpeg(picture.montage),
        "threshold": threshold,
        "share_above": above,
        "mask": mask,
        "findings": mask.findings if mask else [],
        "flags": {finding.number: finding.flag_words for finding in mask.findings} if mask else {},
        "nothing": nothing_found(mask.false_findings) if mask else "",
    }


def _viewer(
    located: Located, model: Model, pictures: Mapping[Method, Picture], facts: Sequence[Mapping[str, object]]
) -> dict[str, object]:
    """Return the data of the page's script: the scan, its expectation and each map with its findings."""
    volume, brain = located.volume, located.brain
    crop = crop_to(brain, volume)
    inside = volume.data[brain]
    # the grey values span those of the brain and of all that is shown
    least, most = (float(value) for value in np.percentile(volume.data[crop.box], STORED_PERCENTILES))
    lowest, highest = (float(value) for value in np.percentile(inside, STORED_PERCENTILES))
    low, high = min(least, lowest), max(most, highest)
    scan = {
        "name": model.facts.contrast.upper(),
        "data": layer(volume.data, crop, low=low, high=high),
        "expected": layer(np.where(brain, expected_scan(located), least), crop, low=low, high=high),
        "windows": {name: np.percentile(inside, shares).tolist() for name, shares in WINDOWS.items()},
    }
    # each map in its two signs, its steps not spent on the highest voxels alone
    maps = []
    for (method, picture), about in zip(pictures.items(), facts, strict=True):
        signed, numbers = picture.signed, picture.numbers
        top = min(float(np.abs(signed).max()), MAX_CEILINGS * picture.ceiling) or 1.0
        signs = {"brighter": signed, "darker": -signed}
        maps.append(
            {
                "method": method,
                "layers": {sign: layer(of, crop, low=0, high=top, highest=True) for sign, of in signs.items()},
                "numbers": None if numbers is None else layer(numbers, crop, low=0, high=STEPS, highest=True),
                "ceiling": picture.ceiling,
                "threshold": about["threshold"] or 0.0,
            }
        )
    expected_mm = FIELD_OF_VIEW_MM / model.facts.network.image_size
    return viewer_data([scan], maps, crop, {"brighter": BRIGHT, "darker": DARK}) | {"expected_mm": expected_mm}
