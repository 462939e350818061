"""The options of a run, stated once: one frozen value that travels whole, from the command to each scan's task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import get_args

from vae_loc.errors import UnusableOption, refuse_beyond
from vae_loc.model.checkpoint import healthy_threshold
from vae_loc.model.facts import HealthyFindings
from vae_loc.model.network import Model
from vae_loc.scoring.findings import known_findings, strength_for, told_by
from vae_loc.vocabulary import MAPS, BrainMask, Method, Polarity

DEFAULT_FPR = 0.05  # share of healthy voxels beyond the threshold that maps are described by
FPR_RANGE = (0.0001, 0.5)  # shares of healthy voxels beyond a threshold that may be asked for
DEFAULT_FALSE_FINDINGS = 0.1  # expected per healthy scan
FALSE_FINDINGS_RANGE = (0.001, 5.0)  # numbers of them that may be asked for
RULES = ("threshold", "fpr", "false_findings")
EXTRAPOLATED = "extrapolated beyond its"


@dataclass(frozen=True)
class Rule:
    """Which voxels are marked: beyond `threshold`, in regions that are stronger than `min_strength` somewhere.

    `source` says where both come from; `false_findings` is the number expected per healthy scan, at most, and not below
    1 / `told_by`, the scans that tell it; both are None for a threshold.
    """

    threshold: float
    min_strength: float
    source: str
    false_findings: float | None = None
    told_by: int | None = None


def default_rate(known: HealthyFindings) -> float:
    """Return the expected number of findings per healthy scan by default: no less than the model's scans can tell."""
    return max(DEFAULT_FALSE_FINDINGS, 1 / told_by(known))


@dataclass(frozen=True)
class Segmentation:
    """How findings are told from the rest of a map.

    One may be given: a threshold, the share of healthy voxels beyond it, or the expected number of false findings per
    healthy scan. Without any, the model's thresholds from annotated scans count, else `default_rate`; bare scores and
    models without healthy findings take `DEFAULT_FPR`.
    """

    threshold: float | None = None
    fpr: float | None = None
    false_findings: float | None = None
    min_size_mm3: float = 100.0

    def __post_init__(self) -> None:
        """Refuse values beyond their ranges, and several rules at once."""
        refuse_beyond("threshold", self.threshold)
        refuse_beyond("fpr", self.fpr, *FPR_RANGE)
        refuse_beyond("false-findings", self.false_findings, *FALSE_FINDINGS_RANGE)
        refuse_beyond("min-size", self.min_size_mm3, 0)
        if len(given := [f"--{name.replace('_', '-')}" for name in RULES if getattr(self, name) is not None]) > 1:
            raise UnusableOption(" with ".join(given), "expected one rule for findings; leave the others out")

    def rule(self, model: Model, method: Method, *, bare: bool) -> Rule:
        """Return which voxels of a map are marked."""
        labelled = model.facts.labelled
        known = known_findings(model.facts, method, bare=bare)
        if self.threshold is not None:
            return Rule(self.threshold, 0.0, "option")
        asked = self.fpr is not None or self.false_findings is not None
        if not asked and labelled is not None and method in labelled.thresholds and not bare:
            source = f"labelled calibration on {labelled.calibration_subjects} subjects"
            return Rule(labelled.thresholds[method], 0.0, source)
        if self.fpr is None and known is not None:
            expected = default_rate(known) if self.false_findings is None else self.false_findings
            least, scans = strength_for(known, expected), told_by(known)
            source = f"{expected:.3g} false findings per healthy scan"
            source += f", {EXTRAPOLATED} {scans} scan{'s' if scans > 1 else ''}" if expected < 1 / scans else ""
            return Rule(known.extent, least, source, max(expected, 1 / scans), scans)
        fpr = DEFAULT_FPR if self.fpr is None else self.fpr
        return Rule(healthy_threshold(model.checkpoint, method, fpr, raw=bare), 0.0, f"healthy fpr {fpr:g}")


@dataclass(frozen=True)
class Files:
    """Which files a scan leaves besides its maps, pictures and scores.

    Attributes
    ----------
    segmentation : how masks are made; None makes none
    percentile : whether each map is also written as the percentile among healthy voxels
    report : whether a page for people is written
    template_space : whether scan, maps and masks are also written in the space of the template `MNI`
    """

    segmentation: Segmentation | None = None
    percentile: bool = False
    report: bool = False
    template_space: bool = False


@dataclass(frozen=True)
class ScoreOptions:
    """The choices that hold for every scan of a run.

    Attributes
    ----------
    methods : which maps
    model : a model's name or file; None chooses a shipped one by `contrast`, name or intensities
    brain_mask : None takes the mask beside each scan where there is one, else `auto`
    volume : which volume of 4D files, from 0
    threads : CPU threads of the network, in each process
    polarity : `bright` or `dark` keeps only what is brighter or darker than the model expects
    raw : the paper's bare scores instead of those normalised by place and scan
    files : which files a scan leaves besides its maps
    dicom_seg : whether masks are also written as DICOM Segmentations of the series that the scans came from
    force : whether scans are scored that do not look like a brain MRI; their outputs state it
    """

    methods: Sequence[Method] = ("combi",)
    model: str | None = None
    contrast: str | None = None
    brain_mask: BrainMask | None = None
    volume: int | None = None
    device: str = "cpu"
    threads: int = 1
    polarity: Polarity = "any"
    raw: bool = False
    files: Files = field(default_factory=Files)
    dicom_seg: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse what is no map, no polarity or no brain mask."""
        named = [] if isinstance(self.methods, str) else list(self.methods)
        if not named or not {str(name) for name in named} <= {*MAPS}:
            raise UnusableOption("--method", f"expected a list of some of {', '.join(MAPS)}, got {self.methods!r:.60}")
        if str(self.polarity) not in get_args(Polarity):
            raise UnusableOption("--polarity", f"expected {', '.join(get_args(Polarity))}, got {self.polarity!r:.60}")

    def stated(self) -> dict[str, object]:
        """Return the choices that shape the outputs of a scan, as its JSON states them."""
        return {
            "methods": list(self.methods),
            "contrast": self.contrast,
            "brain_mask": str(self.brain_mask or "beside, or auto"),
            "volume": self.volume,
            "polarity": self.polarity,
            "raw": self.raw,
            "percentile": self.files.percentile,
            "report": self.files.report,
            "template_space": self.files.template_space,
            "force": self.force,
            "segmentation": None if self.files.segmentation is None else asdict(self.files.segmentation),
        }


@dataclass(frozen=True)
class RunOptions:
    """How a cohort is run.

    Attributes
    ----------
    jobs : worker processes, or parts of a cluster; None takes as many as pay
    scheduler : `dask`, `slurm`, an address or a file: a dask cluster scores the scans
    shard : (part, parts), from 1: only this part of the scans
    skip_existing : leave alone what is whole and was made by the same model and options from the same scan
    persons : where scans are segmented, also merge those of one person that differ in contrast
    """

    jobs: int | None = None
    scheduler: str | None = None
    shard: tuple[int, int] = (1, 1)
    skip_existing: bool = False
    persons: bool = True


DEFAULTS = ScoreOptions()


def brain_mask_of(option: str | Path | None) -> BrainMask | None:
    """Return `auto` and `none` as they are, and any other brain mask as a path.

    Raises
    ------
    UnusableOption : if it is no text and no path, an array for example.
    """
    if option is not None and not isinstance(option, (str, Path)):
        raise UnusableOption("--brain-mask", f"expected a file, auto or none, got {type(option).__name__}; save it")
    words: dict[str | Path | None, BrainMask | None] = {"auto": "auto", "none": "none", None: None}
    return words[option] if option in words else Path(str(option))
