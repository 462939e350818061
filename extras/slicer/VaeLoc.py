"""3D Slicer module: run the installed vae-loc on a loaded volume, and load its findings as a segmentation.

The command `vae-loc` runs as a process of its own, by its own Python: nothing is installed into Slicer.
docs/how-to/slicer.md describes the installation. Research use only, not a medical device.
"""

from __future__ import annotations

import csv
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import qt
import slicer
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)

PROGRAM = "vae-loc"
PROGRAM_SETTING = "VaeLoc/program"  # of Slicer's settings: the path stays from one start to the next
CONTRASTS = ("by the volume's name", "t1", "t2", "flair")
COLOURS = {"brighter": (232, 89, 12), "darker": (37, 99, 235)}  # warm and blue, as in the pictures of vae-loc


class VaeLoc(ScriptedLoadableModule):
    """The module's entry in Slicer's list."""

    def __init__(self, parent):
        super().__init__(parent)
        parent.title = "vae-loc: brain MRI anomalies"
        parent.categories = ["Segmentation"]
        parent.contributors = ["The vae-loc contributors"]
        parent.helpText = (
            "Finds places of a brain MRI (T1, T2, FLAIR) that differ from healthy brains, and loads them as a "
            "segmentation. Needs an installed vae-loc. Research use only, not a medical device."
        )
        parent.acknowledgementText = "Method: Zimmerer et al., MICCAI 2019, arXiv:1907.02796."


class VaeLocWidget(ScriptedLoadableModuleWidget):
    """The panel: volume, contrast, false findings, the program, a button, and the list of findings in words."""

    def setup(self):
        """Make the panel; Slicer calls this once."""
        super().setup()
        self.volume = slicer.qMRMLNodeComboBox()
        self.volume.nodeTypes = ["vtkMRMLScalarVolumeNode"]
        self.volume.addEnabled = self.volume.removeEnabled = self.volume.renameEnabled = False
        self.volume.setMRMLScene(slicer.mrmlScene)
        self.contrast = qt.QComboBox()
        self.contrast.addItems(list(CONTRASTS))
        self.false_findings = qt.QDoubleSpinBox()
        self.false_findings.setDecimals(3)
        self.false_findings.setRange(0.001, 5.0)
        self.false_findings.setSingleStep(0.1)
        self.false_findings.setValue(0.1)
        self.program = qt.QLineEdit(qt.QSettings().value(PROGRAM_SETTING, PROGRAM))
        self.button = qt.QPushButton("Find")
        self.button.connect("clicked()", self.find)
        self.words = qt.QLabel()
        self.words.setWordWrap(True)
        form = qt.QFormLayout()
        form.addRow("Volume", self.volume)
        form.addRow("Contrast", self.contrast)
        form.addRow("False findings per healthy scan", self.false_findings)
        form.addRow("Program", self.program)
        form.addRow(self.button)
        form.addRow(self.words)
        self.layout.addLayout(form)
        self.layout.addStretch(1)

    def find(self):
        """Segment the chosen volume and show the findings in words; an error is a message of Slicer's."""
        qt.QSettings().setValue(PROGRAM_SETTING, self.program.text)
        with slicer.util.tryWithErrorDisplay("vae-loc has no result.", waitCursor=True):
            contrast = None if self.contrast.currentIndex == 0 else self.contrast.currentText
            _, rows, said = VaeLocLogic().process(
                self.volume.currentNode(),
                program=self.program.text,
                contrast=contrast,
                false_findings=self.false_findings.value,
            )
            lines = [f"{row['index']}: {row['words']}" for row in rows] or ["No findings. That does not mean healthy."]
            self.words.setText("\n\n".join([*lines, said]))


class VaeLocLogic(ScriptedLoadableModuleLogic):
    """The work without the panel, for scripts: `VaeLocLogic().process(volume)`."""

    def process(self, volume, *, program=PROGRAM, contrast=None, false_findings=0.1):
        """Return the segmentation node of a volume node, the table's rows, and the messages of vae-loc.

        Raises RuntimeError, in one line: no volume, no program, or the error of vae-loc.
        """
        if volume is None:
            raise RuntimeError("expected a volume, got none; load a scan first")
        folder = Path(tempfile.mkdtemp(prefix="vae-loc-", dir=slicer.app.temporaryPath))
        scan = folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', volume.GetName())}.nii.gz"
        if not slicer.util.exportNode(volume, str(scan)):
            raise RuntimeError(f"{scan}: Slicer could not write the volume as NIfTI")
        said = run_segment(program, scan, folder / "results", contrast, false_findings)
        numbers = only(folder / "results", "*_dseg.nii.gz")
        with open(only(folder / "results", "*_dseg.tsv"), newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file, delimiter="\t"))
        node = slicer.util.loadSegmentation(str(numbers))
        # same place in the scene as the volume, also under a transform
        node.SetName(f"{volume.GetName()} findings")
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        node.SetAndObserveTransformNodeID(volume.GetTransformNodeID())
        name_segments(node.GetSegmentation(), rows)
        return node, rows, said


def run_segment(program: str, scan: Path, output: Path, contrast: str | None, false_findings: float) -> str:
    """Return the messages of `vae-loc segment` on a file; RuntimeError with its last one if it fails."""
    environment = slicer.util.startupEnvironment()  # without Slicer's own Python and libraries
    found = shutil.which(program, path=environment.get("PATH"))
    if found is None:
        raise RuntimeError(f"{program}: expected the vae-loc program, found none; give its full path under Program")
    command = [found, "segment", str(scan), "-o", str(output), "--false-findings", f"{false_findings:g}"]
    command += [] if contrast is None else ["--contrast", contrast]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    said = ended.stderr.strip()
    if ended.returncode:
        last = said.splitlines()[-1] if said else "no message"
        raise RuntimeError(f"{last} (exit code {ended.returncode})")
    return said


def only(folder: Path, pattern: str) -> Path:
    """Return the one file of a folder that fits a pattern; RuntimeError otherwise."""
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise RuntimeError(f"{folder}: expected one {pattern}, got {len(found)}; is this vae-loc 0.6 or newer?")
    return found[0]


def name_segments(segmentation, rows):
    """Give each segment the name and the colour of its finding: its label value is the finding's number."""
    by_number = {int(row["index"]): row for row in rows}
    for index in range(segmentation.GetNumberOfSegments()):
        segment = segmentation.GetNthSegment(index)
        row = by_number[segment.GetLabelValue()]
        short = re.split(r" \(|, slice |;", row["words"])[0]  # size, sign, side and lobe
        segment.SetName(f"{row['index']}: {short}")
        segment.SetColor(*(part / 255 for part in COLOURS[row["sign"]]))


class VaeLocTest(ScriptedLoadableModuleTest):
    """Slicer's "Reload and Test" of a developer: segments the first volume of the scene."""

    def runTest(self):
        """Segment the first volume of the scene; fails without one."""
        node, rows, _ = VaeLocLogic().process(slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLScalarVolumeNode"))
        self.assertEqual(node.GetSegmentation().GetNumberOfSegments(), len(rows))  # noqa: PT009
