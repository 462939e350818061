"""The contrast that a DICOM header, BIDS entities or a file name state: T1, T2, FLAIR, or an image of another kind.

Sequence parameters come before words, because vendors call a FLAIR `t2_tirm`; tissues decide where nothing is stated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

STATING = ("ImageType", "ScanningSequence", "RepetitionTime", "EchoTime", "InversionTime", "DiffusionBValue",
           "ContrastBolusAgent", "AcquisitionContrast")  # fmt: skip
CONTRASTS = ("t1", "t2", "flair")  # of the shipped models; the first that a person has gives the grid
NAMES = {"t1": "t1", "t1w": "t1", "t1n": "t1", "unit1": "t1", "mprage": "t1", "t1c": "t1", "t1ce": "t1", "t1gd": "t1",
         "t1post": "t1", "t2": "t2", "t2w": "t2", "flair": "flair", "t2f": "flair"}  # fmt: skip
ENHANCED_NAMES = ("t1c", "t1ce", "t1gd", "t1post")
# last parts of file names that processing adds
PROCESSED = ("brain", "unbiased", "biascorr", "n4", "bet", "stripped", "orig", "defaced", "reg")
PROTON, STIR = "a proton-density image", "a fat-suppressed inversion image (STIR)"
# images that no shipped model is for, by words of vendors in a description or ImageType, or the last part of a name
OTHER_KINDS = {
    "a diffusion image":
        r"\b(dwi|dti|adc|e?adc|trace ?w?|tensor|ivim|diff(usion)?|b ?\d{1,2}[05]0|b0(?! ?map))\b|^fa$",
    "a perfusion image": r"\b(p?c?asl|perf\w*|[rc]+bf|r?cbv|mtt|ttp|dsc|dce|m0(scan)?)\b",
    "a map of numbers, not of signal": r"\b(t1|t2|t2star|r1|r2|r2star|pd|mt|mtr)[w* ]*map\w*\b|\bt1rho\b|\bmtsat\b",
    "a susceptibility or T2* image":
        r"\b(swip?|swan|qsm|mnip|min ?ip)\b|\bt2 ?([*]|star)|\bt2w? (ffe|gre|fl2d|fl3d|me2d|medic|merge|hemo)\b",
    "an angiogram": r"\b(mra|mrv|tof|pca|mip|angio\w*|veno\w*)\b",
    "an inversion image of MP2RAGE": r"\binv ?[12]\b",
    "an echo-planar or functional image": r"\b((mean)?bold|fmri|epi\d*d?|ep2d|sbref)\b",
    "a phase image or field map": r"\b(phase(diff|\d)?(?! ?(enc|over|dir))|pha|field ?map(ping)?|b[01] ?map\w*)\b",
    "a fat, water or out-of-phase image": r"\bdixon\b.*\b(fat|f|opp|out)\b",
    STIR: r"\bstir\b",
    "a double-inversion image": r"\bdouble (ir|inversion)\b|\bspace dir\b",
    "a spectroscopic image": r"\b(svs|csi|mrs|spectro\w*)\b",
    "a map of one tissue": r"^(gm|wm|csf|pve(seg)?)$",
}  # fmt: skip
OF_NAMES = {PROTON: r"^pd(w|t2)?$"} | OTHER_KINDS  # a description may name both echoes, "PD/T2"
ENTITIES = {"a phase image": r"_part-(phase|imag|real)_", "an inversion image of MP2RAGE": r"_inv-\d+_|[-_]mp2rage$"}
PROTON_DENSITY = r"\bpdw?\b|proton ?dens\w*"
CONTRAST_WORDS = (("t1", r"\bt1(?!rho)|mp-?2?rage|bravo|f?spgr|\btfe\b|vibe"),
         ("flair", r"flair|dark.?fluid|\bda.?fl\b|fluid attenuated|\btirm\b"),
         ("t2", r"\bt2(?! ?[*]| ?star)|\bcube\b|\bvista\b"))  # fmt: skip
AGENT = r"\b(gad\w*|gd|km|ce|post(?! ?op)|contrast|mdc|magnevist|dotarem|prohance|clariscan|\w*vist)\b|\+ ?c\b|\bc ?\+"
NO_AGENT = r"\b(w/o|without|non?|pre|ohne|nativ)\W*(contrast|gad\w*|gd|km|c)\b"
NO_BOLUS = ("", "no", "none", "n", "n/a", "0")


@dataclass(frozen=True)
class Stated:
    """The statements of a header or name about a scan.

    Attributes
    ----------
    contrast : t1, t2 or flair; None where nothing states one
    other : in words, the kind of an image that is none of the three; None if it may be one
    agent : in words, where a contrast agent is stated; None without one
    doubt : in words, where two statements of a header contradict each other
    by : where it is stated, in words
    """

    contrast: str | None = None
    other: str | None = None
    agent: str | None = None
    doubt: str | None = None
    by: str = "name"

    def refusal(self) -> str | None:
        """Return why an image of another kind is not scored, in a sentence; None if it may be a scan."""
        said = f"expected a T1, T2 or FLAIR scan, its {self.by} states {self.other}; --force scores it"
        return said if self.other else None

    def warnings(self, contrast: str) -> tuple[str, ...]:
        """Return the warnings on a scan that the model of a contrast scores; a sentence each."""
        said = [f"its {self.by} states {self.other}: do not trust map and findings"] if self.other else []
        if self.contrast not in (None, contrast):
            said.append(f"its {self.by} states {self.contrast}, it was scored as {contrast}; check --contrast")
        if self.agent:
            said.append(f"its {self.by} states a contrast agent ({self.agent}): what takes it up may be a finding")
        return (*said, *([self.doubt] if self.doubt else []))


def name_parts(name: str) -> list[str]:
    """Return the parts of a file name without its ending, in small letters; those that processing adds are left out.

    >>> name_parts("IXI013-HH-1212-T1"), name_parts("T2_FLAIR_brain")
    (['ixi013', 'hh', '1212', 't1'], ['t2', 'flair'])
    """
    parts = re.split("[-_]", name.lower())
    while len(parts) > 1 and parts[-1] in PROCESSED:
        parts.pop()
    return parts


def stated_by_name(name: str) -> Stated:
    """Return the statements of a file name without its ending: by its BIDS entities and its last part.

    >>> stated_by_name("sub-01_ce-gad_T1w").agent, stated_by_name("IXI013-HH-1212-PD").other
    ('ce-gad', 'a proton-density image')
    """
    last = name_parts(name)[-1]
    entity = re.search(r"_(ce-[a-z0-9]+)_", name.lower())
    agent = entity[1] if entity else last if last in ENHANCED_NAMES else None
    return Stated(NAMES.get(last), _first_kind(ENTITIES, name.lower()) or _first_kind(OF_NAMES, last), agent)


def stated_by_header(header: Mapping[str, str], description: str) -> Stated:
    """Return the statements of a DICOM header: its sequence parameters first, then words of description and ImageType.

    Parameters
    ----------
    header : values as text by DICOM keyword, those of `STATING` or some, several joined by spaces
    description : series description, without what may name the patient

    >>> stated_by_header({"RepetitionTime": "9000", "EchoTime": "86", "InversionTime": "2500"}, "t2_tse").contrast
    'flair'
    """
    words = re.sub(r"[_\W]*_[_\W]*", " ", description.lower())
    acquired = header.get("AcquisitionContrast", "").lower().replace("_", " ")
    kinds = " ".join([*header.get("ImageType", "").lower().replace("_", " ").split()[2:], acquired])
    named = contrast_of_words(words) or contrast_of_words(acquired)
    measured = _by_parameters(header)
    proton = re.search(PROTON_DENSITY, f"{words} {acquired}") and (named != "t2" or _number(header, "EchoTime") < 60)
    by_values = {
        "a diffusion image": _number(header, "DiffusionBValue") > 0,
        "a phase image": re.search(r"(^| )p( |$)", kinds),
        "an echo-planar image": named is None and "EP" in header.get("ScanningSequence", "").split(),
        PROTON: proton or (measured == "pd" and named in (None, "t2")),
        STIR: measured == "stir" and named != "t1",
    }
    other = _first_kind(OTHER_KINDS, words, kinds) or next((kind for kind in by_values if by_values[kind]), None)
    # a FLAIR by its times is one, whatever it is called; other times decide where words are silent
    contrast = "flair" if measured == "flair" else named or (measured if measured in CONTRASTS else None)
    doubt = None
    if measured == "flair" and named in ("t1", "t2"):
        doubt = f"its description states {named}, its times (TR, TE, TI) are those of a FLAIR: check --contrast"
    bolus = header.get("ContrastBolusAgent", "").strip().lower()
    found = re.search(AGENT, words) if not re.search(NO_AGENT, words) else None
    agent = "ContrastBolusAgent" if bolus not in NO_BOLUS else found[0].strip() if found else None
    return Stated(contrast, other, agent, doubt, by="DICOM header")


def contrast_of_words(text: str) -> str | None:
    """Return the contrast that a series description names, or None.

    >>> [contrast_of_words(text) for text in ("t1_mprage_sag", "AX T2 FLAIR", "T1 FLAIR", "t2_tirm_tra", "t2*_gre")]
    ['t1', 'flair', 't1', 'flair', None]
    """
    return next((name for name, pattern in CONTRAST_WORDS if re.search(pattern, text.lower().replace("_", " "))), None)


def _first_kind(kinds: Mapping[str, str], *texts: str) -> str | None:
    return next((kind for kind, pattern in kinds.items() for text in texts if re.search(pattern, text)), None)


def _by_parameters(header: Mapping[str, str]) -> str | None:
    """Return t1, t2, flair, pd or stir by repetition, echo and inversion time in ms, where they leave no doubt.

    FLAIR nulls fluid: its inversion time is about 2.5 s at 3 T, and beyond 1.5 s at any field; fat is nulled at .2 s.
    Times alone never tell a gradient echo, whose contrast is made by the flip angle and preparation.
    """
    tr, te, ti = (_number(header, f"{name}Time") for name in ("Repetition", "Echo", "Inversion"))
    sequence = header.get("ScanningSequence", "").split()
    if ti >= 1500 and te >= 60 and tr >= 4000:
        return "flair"
    if 400 <= ti <= 1400 and 0 < te <= 30:
        return "t1"
    if "GR" in sequence or "EP" in sequence or "SE" not in sequence:
        return None
    if ti > 0:
        return "stir" if 80 <= ti <= 300 and tr >= 1500 else None
    if tr >= 1800 and te > 0:
        return "t2" if te >= 60 else "pd" if te <= 45 else None
    return "t1" if 0 < tr <= 1000 and 0 < te <= 30 else None


def _number(header: Mapping[str, str], name: str) -> float:
    """Return a value of a header as a number; 0 where it is missing or none."""
    try:
        return float(header.get(name, "").split()[0])
    except (ValueError, IndexError):
        return 0.0
