"""The result of `vae_loc.localize`: the maps of one scan, and functions for findings, figure and files."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

from vae_loc.errors import UnusableOption
from vae_loc.model.network import Model
from vae_loc.preprocessing.open_scan import counting_mask
from vae_loc.results.earlier_outputs import earlier_outputs
from vae_loc.results.interactive.scan_figure import scan_figure
from vae_loc.results.montage import Slices
from vae_loc.results.output_names import folder_names, refuse_clashes
from vae_loc.results.scan_outputs import shown_of, write_outputs
from vae_loc.results.score_scan import inputs_of
from vae_loc.scans.cases import Case
from vae_loc.scans.image_in_memory import digest_of
from vae_loc.scans.volume import Volume
from vae_loc.scoring.finding_model import Finding
from vae_loc.scoring.locate import Located, SampleScores
from vae_loc.scoring.score_options import Files, ScoreOptions, Segmentation
from vae_loc.scoring.segmentation import SegmentedMap, segment, signed_on_grid
from vae_loc.vocabulary import BoolArray, FloatArray, Method

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from typing_extensions import Unpack


class RuleOptions(TypedDict, total=False):
    """Options of `segment`, `mask` and `save`: the rule for findings, one of the first three.

    Attributes
    ----------
    threshold, fpr : a value of the map, or the share of healthy voxels beyond it
    false_findings : how many findings a healthy scan may be expected to have; `default_rate` if no rule is given
    min_size_mm3 : the smallest finding kept; 100 if it is not given
    """

    threshold: float | None
    fpr: float | None
    false_findings: float | None
    min_size_mm3: float


@dataclass(frozen=True, repr=False)
class ScanResult:
    """The anomaly maps of one scan.

    Attributes
    ----------
    case : the scan's name, subject and brain mask
    options : what was asked for
    located : all that was computed, also on the canonical grid
    model : the model that scored the scan
    notes : what the user should know of the model's choice, one line each
    in_memory : whether the scan was an image in memory and no file
    """

    case: Case
    options: ScoreOptions
    located: Located
    model: Model
    notes: tuple[str, ...] = ()
    in_memory: bool = False

    def __repr__(self) -> str:
        """Return one line: scan, model, maps and the number of warnings."""
        maps, count = ", ".join(self.located.signed_maps), len(self.warnings)
        warned = f"{count or 'no'} warning{'' if count == 1 else 's'}"
        return f"<ScanResult {self.case.scan.name}: {maps} by model {self.model.facts.contrast}, {warned}>"

    @property
    def maps(self) -> dict[Method, FloatArray]:
        """Float32 (I, J, K) >= 0 on the scan's own grid for each method, in robust SD, 0 outside the brain."""
        return self.located.maps

    @property
    def brain(self) -> BoolArray:
        """The brain mask, bool (I, J, K) on the scan's own grid."""
        return self.located.brain

    @property
    def volume(self) -> Volume:
        """The scan as it was read."""
        return self.located.volume

    @property
    def scores(self) -> SampleScores:
        """Rec, KL and -ELBO of the slices and of the volume, in nats."""
        return self.located.scores

    @property
    def refusals(self) -> tuple[str, ...]:
        """Why the scan should not have been scored; only where that was forced."""
        return self.located.refusals

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings of the commands for the scan and the choice of the model, one line each."""
        return (*self.notes, *self.located.warnings)

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of the first map, strongest first, by the rule that `vae-loc segment` has without options."""
        return self.segment().findings

    def segment(self, method: Method | None = None, **rule: Unpack[RuleOptions]) -> SegmentedMap:
        """Return the findings of a map and their numbered voxels; nothing is scored again.

        Parameters
        ----------
        method : of which map; None takes the first that was asked for
        rule : `false_findings`, `threshold`, `fpr` and `min_size_mm3`, see `RuleOptions`

        Raises
        ------
        UnusableOption : if the map was not asked for.
        UnusableModel : if the rule needs healthy statistics that the model lacks.
        """
        return segment(self.located, self.model, self._method(method), Segmentation(**rule))

    def mask(self, method: Method | None = None, **rule: Unpack[RuleOptions]) -> BoolArray:
        """Return the voxels of all findings, bool (I, J, K) on the scan's own grid; parameters as of `segment`."""
        return self.segment(method, **rule).mask

    def plot(self, method: Method | None = None, *, segmented: SegmentedMap | None = None) -> Figure:
        """Return a matplotlib figure of the strongest findings: scan, map, and scan with map and outline.

        Parameters
        ----------
        method : which map; None takes the first that was asked for
        segmented : the result of `segment` for this map; None takes its rule without options

        Raises
        ------
        UnusableOption : if matplotlib is not installed, or the map was not asked for.
        """
        method = self._method(method)
        found = self.segment(method) if segmented is None else segmented
        shown = shown_of(self.located, self.model, method, found)
        signed = signed_on_grid(self.located, method, beyond=0.0)
        slices = Slices.of(self.volume, signed, self.brain, found.numbers, shown)
        title = f"{self.case.scan.name}, {method}, model {self.model.facts.contrast}: research use only"
        return scan_figure(slices, found.findings, title=title)

    def save(
        self,
        folder: str | Path,
        *,
        percentile: bool = False,
        report: bool = False,
        template_space: bool = False,
        **rule: Unpack[RuleOptions],
    ) -> list[Path]:
        """Write the files that `vae-loc segment` writes for the scan, all or none; return their paths.

        Parameters
        ----------
        folder : is made if it is not there; outputs of an earlier run for this scan are replaced
        percentile, report : whether percentile maps and the page are written too
        template_space : whether scan, maps and masks are also written in MNI152NLin2009aSym, if the alignment is sure
        rule : as of `segment`

        Raises
        ------
        UnusableInput : if a file cannot be written, or would replace an input or a file that is not vae-loc's.
        """
        files = Files(Segmentation(**rule), percentile=percentile, report=report, template_space=template_space)
        options = replace(self.options, files=files)
        names = folder_names(Path(folder), scans=[self.case.scan], methods=len(self.maps), polarity=options.polarity)
        refuse_clashes([self.case], names, options)
        digest = digest_of(self.volume) if self.in_memory else None
        inputs = inputs_of(self.case, counting_mask(self.case, options.brain_mask), scan=digest)
        earlier = earlier_outputs(names, self.case.scan, options, inputs)
        return write_outputs(self.located, self.model, options, inputs, earlier)[0]

    def _method(self, method: Method | None) -> Method:
        """Return a map that was asked for, the first if none is named."""
        scored = self.located.signed_maps
        if method is None:
            return next(iter(scored))
        if method not in scored:
            known = ", ".join(scored)
            raise UnusableOption("method", f"expected a map that was scored ({known}), got {method}; add it to methods")
        return method
