"""The module for 3D Slicer runs vae-loc and names the segments, as far as that can be told without Slicer.

The stubs below have the methods of Slicer's API that the module calls, and no others: Slicer itself ran none of this.
A segmentation is read as Slicer's vtkMRMLSegmentationStorageNode.cxx reads a plain label image: one segment for each
value, `Segment_<value>`, which knows its value.
"""

import importlib.util
import os
import shutil
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from support.commands import stand_in
from support.places import ROOT, SAMPLES

from vae_loc.scoring.finding_model import Finding, columns_of, findings_tsv

FILE = ROOT / "extras" / "slicer" / "VaeLoc.py"
STROKE = SAMPLES / "crtut_t2.nii.gz"
OURS = f'exec "{sys.executable}" -m vae_loc "$@"'


class Segment:
    def __init__(self, value):
        self.value, self.name, self.colour = value, f"Segment_{value}", None

    def GetLabelValue(self):
        return self.value

    def SetName(self, name):
        self.name = name

    def SetColor(self, red, green, blue):
        self.colour = (red, green, blue)


class Segmentation:
    def __init__(self, path):
        self.segments = [Segment(int(value)) for value in np.unique(nib.load(path).dataobj) if value]

    def GetNumberOfSegments(self):
        return len(self.segments)

    def GetNthSegment(self, index):
        return self.segments[index]


class SegmentationNode:
    def __init__(self, path):
        self.segmentation, self.name, self.reference, self.transform = Segmentation(path), None, None, None

    def GetSegmentation(self):
        return self.segmentation

    def SetName(self, name):
        self.name = name

    def SetReferenceImageGeometryParameterFromVolumeNode(self, volume):
        self.reference = volume

    def SetAndObserveTransformNodeID(self, transform):
        self.transform = transform


class VolumeNode:
    def __init__(self, name, path=STROKE):
        self.name, self.path = name, path

    def GetName(self):
        return self.name

    def GetTransformNodeID(self):
        return "vtkMRMLTransformNode1"


class Widget:
    """All of Qt's widgets and layouts that the panel has, with the values that a person sets."""

    nodeTypes = addEnabled = removeEnabled = renameEnabled = None
    currentIndex, currentText, value, text = 0, "by the volume's name", 0.1, "vae-loc"

    def __init__(self, text="vae-loc"):
        self.text = text

    def nothing(self, *_):
        pass

    setMRMLScene = addItems = setDecimals = setRange = setSingleStep = setWordWrap = addRow = nothing

    def setValue(self, value):
        self.value = value

    def setText(self, text):
        self.text = text

    def connect(self, signal, slot):
        self.clicked = {signal: slot}["clicked()"]

    def currentNode(self):
        return VolumeNode("scan")


class Settings:
    def __init__(self, kept):
        self.kept = kept

    def value(self, name, default):
        return self.kept.get(name, default)

    def setValue(self, name, value):
        self.kept[name] = value


class Base:
    def __init__(self, parent=None):
        self.parent, self.layout = parent, SimpleNamespace(addLayout=lambda _: None, addStretch=lambda _: None)

    def setup(self):
        pass


@contextmanager
def shown(errors, message, waitCursor):
    try:
        yield
    except RuntimeError as error:
        errors.append(f"{message} {error}")


@pytest.fixture
def slicer(tmp_path, monkeypatch):
    """Slicer's modules; `programs` is its PATH, `errors` are the messages it showed."""
    module, qt, parts = ModuleType("slicer"), ModuleType("qt"), ModuleType("slicer.ScriptedLoadableModule")
    for name in ("", "Logic", "Widget", "Test"):
        setattr(parts, f"ScriptedLoadableModule{name}", Base)
    for name in ("QComboBox", "QDoubleSpinBox", "QLineEdit", "QPushButton", "QLabel", "QFormLayout"):
        setattr(qt, name, type(name, (Widget,), {}))
    kept = {}
    qt.QSettings, module.qMRMLNodeComboBox, module.mrmlScene = lambda: Settings(kept), Widget, None
    module.programs, module.errors = tmp_path / "programs", []
    module.app = SimpleNamespace(temporaryPath=str(tmp_path))
    environment = os.environ | {"PATH": f"{module.programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    module.util = SimpleNamespace(
        startupEnvironment=lambda: environment,
        exportNode=lambda node, path: bool(shutil.copy(node.path, path)),
        loadSegmentation=SegmentationNode,
        tryWithErrorDisplay=lambda message, waitCursor: shown(module.errors, message, waitCursor),
    )
    for name, stub in (("slicer", module), ("qt", qt), ("slicer.ScriptedLoadableModule", parts)):
        monkeypatch.setitem(sys.modules, name, stub)
    return module


@pytest.fixture
def vae_loc(slicer):
    """The module as Slicer loads it, which is by its path."""
    spec = importlib.util.spec_from_file_location("VaeLoc", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def finding(number, sign, **place):
    unknown = dict.fromkeys(Finding.model_fields) | {"peak_ras_mm": (0, 0, 0), "centroid_ras_mm": (0, 0, 0)}
    known = {"number": number, "sign": sign, "strength": 9.0, "volume_ml": 3.2, "contrast": "t2", "peak_slice": 2}
    return Finding(**(unknown | known | {"peak_voxel": (0, 0, 2)} | place))


@pytest.fixture
def results(tmp_path):
    """A numbered mask of three findings and its table, as `segment` writes them; the second finding has no voxels."""
    (tmp_path / "ready").mkdir()
    numbers = np.zeros((4, 4, 4), np.uint8)
    numbers[0], numbers[3] = 1, 3
    nib.save(nib.Nifti1Image(numbers, np.eye(4)), tmp_path / "ready" / "scan_desc-combi_dseg.nii.gz")
    place = {"side": "both", "lobe": "frontal lobe", "region": "frontal white matter", "region_share": 0.6}
    found = [finding(1, "brighter", **place), finding(2, "darker"), finding(3, "darker")]
    table = findings_tsv(columns_of(Finding), [one.model_dump() for one in found])
    (tmp_path / "ready" / "scan_desc-combi_dseg.tsv").write_bytes(table)
    return f'echo "$@" > "{tmp_path}/asked"; mkdir "$4"; cp "{tmp_path}"/ready/* "$4"; echo a warning >&2'


def test_each_segment_has_name_and_colour_of_its_finding(slicer, vae_loc, results):
    stand_in(slicer.programs, **{"vae-loc": results})
    node, rows, said = vae_loc.VaeLocLogic().process(VolumeNode("scan"))
    first, last = node.segmentation.segments
    assert (first.name, last.name) == (
        "1: about 3.2 ml, brighter than expected, frontal lobe on both sides",
        "3: about 3.2 ml, darker than expected, no named place",
    )
    assert first.colour[0] > first.colour[2]
    assert last.colour[2] > last.colour[0]
    assert all(0 <= part <= 1 for part in (*first.colour, *last.colour))
    assert (len(rows), said) == (3, "a warning")


def test_the_segmentation_lies_where_the_volume_lies(slicer, vae_loc, results):
    stand_in(slicer.programs, **{"vae-loc": results})
    volume = VolumeNode("scan")
    node, _, _ = vae_loc.VaeLocLogic().process(volume)
    assert (node.name, node.reference, node.transform) == ("scan findings", volume, "vtkMRMLTransformNode1")


def test_volume_contrast_and_rate_are_those_that_were_chosen(slicer, vae_loc, results, tmp_path):
    stand_in(slicer.programs, **{"vae-loc": results})
    vae_loc.VaeLocLogic().process(VolumeNode("MR: head (2)"), contrast="flair", false_findings=0.02)
    command, scan, *rest = (tmp_path / "asked").read_text().split()
    assert (command, scan.rpartition("/")[2]) == ("segment", "MR_head_2_.nii.gz")
    assert rest[0] == "-o"
    assert rest[2:] == ["--false-findings", "0.02", "--contrast", "flair"]


def test_the_panel_shows_the_findings_in_words(slicer, vae_loc, results):
    stand_in(slicer.programs, **{"vae-loc": results})
    panel = vae_loc.VaeLocWidget()
    panel.setup()
    panel.button.clicked()
    assert slicer.errors == []
    assert panel.words.text.startswith("1: about 3.2 ml, brighter than expected")
    assert panel.words.text.endswith("a warning")


@pytest.mark.parametrize(
    ("program", "said"),
    [
        (None, "expected the vae-loc program, found none"),
        ("echo one >&2; echo scan.nii.gz: no brain MRI >&2; exit 4", "scan.nii.gz: no brain MRI (exit code 4)"),
        ("exit 1", "no message (exit code 1)"),
        ("exit 0", "expected one *_dseg.nii.gz, got 0"),
    ],
)
def test_a_fault_is_one_line_in_a_message_of_slicer(program, said, slicer, vae_loc, monkeypatch):
    stand_in(slicer.programs, **({} if program is None else {"vae-loc": program}))
    environment = slicer.util.startupEnvironment() | {"PATH": f"{slicer.programs}:/usr/bin:/bin"}
    monkeypatch.setattr(slicer.util, "startupEnvironment", lambda: environment)
    panel = vae_loc.VaeLocWidget()
    panel.setup()
    panel.button.clicked()
    (shown,) = slicer.errors
    assert said in shown
    assert "\n" not in shown


def test_without_a_volume_it_asks_for_one(vae_loc):
    with pytest.raises(RuntimeError, match="load a scan first"):
        vae_loc.VaeLocLogic().process(None)


@pytest.mark.full
def test_the_installed_program_finds_the_stroke(slicer, vae_loc):
    stand_in(slicer.programs, **{"vae-loc": OURS})
    node, rows, _ = vae_loc.VaeLocLogic().process(VolumeNode("crtut_t2"))
    assert [segment.GetLabelValue() for segment in node.segmentation.segments] == [int(row["index"]) for row in rows]
    assert "left parietal lobe" in node.segmentation.segments[0].name
