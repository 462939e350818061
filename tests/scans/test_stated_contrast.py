"""A scan is what its header or name states: sequence parameters before words; other kinds of image are named."""

import shutil
from pathlib import Path

import pytest
from support.commands import run
from support.dicoms import stated, write_series

from vae_loc.results.score_bids import bids_cases
from vae_loc.scans.cases import contrast_of, find_cases, subject_of
from vae_loc.scans.stated_contrast import contrast_of_words, stated_by_header, stated_by_name

MPRAGE = {"ScanningSequence": "GR IR", "RepetitionTime": "2300", "EchoTime": "2.98", "InversionTime": "900"}
FLAIR = {"ScanningSequence": "SE IR", "RepetitionTime": "9000", "EchoTime": "86", "InversionTime": "2500"}
T2 = {"ScanningSequence": "SE", "RepetitionTime": "4500", "EchoTime": "98"}
PD = T2 | {"EchoTime": "14"}
STIR = FLAIR | {"InversionTime": "160", "EchoTime": "60"}


@pytest.mark.parametrize(
    ("text", "contrast"),
    [("T1w_MPR", "t1"), ("sag t1_mprage +C", "t1"), ("AX FSPGR BRAVO", "t1"), ("3D T1 TFE", "t1"), ("T1 FLAIR", "t1"),
     ("t2_spc_da-fl_dark-fluid", "flair"), ("Sag CUBE FLAIR", "flair"), ("t2_tirm_tra_dark-fluid", "flair"),
     ("t2_tirm_tra_p2_320", "flair"), ("t1_tirm_tra", "t1"), ("SAG CUBE T2", "t2"), ("t2_spc_sag_iso", "t2"),
     ("AX T2 FSE", "t2"), ("t2_tse_tra", "t2"), ("t2*_gre", None), ("T2_star_w", None), ("T1rho map", None),
     ("DTI 64 dir", None), ("", None), ("pd_tse", None)],
)  # fmt: skip
def test_words_of_vendors_name_the_contrast(text, contrast):
    assert contrast_of_words(text) == contrast


@pytest.mark.parametrize(
    ("header", "text", "contrast"),
    [(MPRAGE, "", "t1"), (FLAIR, "", "flair"), (T2, "", "t2"), (FLAIR, "t2_tse_tra", "flair"),
     (T2, "AX FLAIR", "flair"),
     ({"RepetitionTime": "500", "EchoTime": "9", "ScanningSequence": "SE"}, "", "t1"),
     ({"RepetitionTime": "25", "EchoTime": "20", "ScanningSequence": "GR"}, "", None), ({}, "", None),
     ({"RepetitionTime": "fast", "EchoTime": ""}, "", None),
     ({"AcquisitionContrast": "FLUID_ATTENUATED"}, "", "flair")],
)  # fmt: skip
def test_times_name_the_contrast_where_they_leave_no_doubt(header, text, contrast):
    found = stated_by_header(header, text)
    assert (found.contrast, found.other) == (contrast, None)


def test_a_flair_by_its_times_is_one_and_the_contradiction_is_a_warning():
    found = stated_by_header(FLAIR, "AX T2 FSE")
    assert found.contrast == "flair"
    assert "states t2, its times (TR, TE, TI) are those of a FLAIR" in found.warnings("flair")[0]


@pytest.mark.parametrize(
    ("header", "text", "kind"),
    [({}, "ep2d_diff_trace_T2w", "diffusion"), ({"DiffusionBValue": "1000"}, "AX T2", "diffusion"),
     ({"ImageType": "DERIVED PRIMARY DIFFUSION ADC"}, "", "diffusion"), ({}, "pcasl_M0", "perfusion"),
     ({"ScanningSequence": "EP"}, "mean", "echo-planar"), ({}, "AX SWI T2", "susceptibility"),
     ({}, "T2 FFE", "susceptibility"), ({}, "T1MAP_Images", "map of numbers"), ({}, "mp2rage_INV1", "MP2RAGE"),
     ({"ImageType": "ORIGINAL PRIMARY P ND"}, "t1", "phase"), ({}, "Ax PD/T2 FSE", "proton-density"),
     (PD, "", "proton"),
     (PD, "AX T2 FSE", "proton-density"), (STIR, "", "STIR"), ({}, "T1 DIXON fat", "fat"), ({}, "TOF_3D", "angiogram"),
     ({"AcquisitionContrast": "DIFFUSION"}, "", "diffusion")],
)  # fmt: skip
def test_an_image_of_another_kind_is_named(header, text, kind):
    found = stated_by_header(header, text)
    assert kind in (found.other or "")
    assert "--force scores it" in (found.refusal() or "")


@pytest.mark.parametrize(
    ("header", "text"),
    [(MPRAGE, "t1_mprage_sag_p2_iso"), (FLAIR, "t2_spc_da-fl_sag_p2_iso"), (T2, "AX PD/T2 FSE"), (T2, "t2_tse_tra_512"),
     (MPRAGE | {"ImageType": "ORIGINAL PRIMARY M_FFE M FFE", "DiffusionBValue": "0"}, "sT1W_3D_TFE"),
     (MPRAGE, "AX 3D T1 BRAVO PHASE DIR AP"), (MPRAGE, "mp2rage_UNI_Images"), (FLAIR, "AX FLAIR FS"),
     (PD | {"InversionTime": "860"}, "AX T1 FLAIR"), (T2 | {"ImageType": "DERIVED SECONDARY MPR"}, "T2 DRIVE")],
)  # fmt: skip
def test_an_ordinary_scan_is_not_taken_for_another_kind(header, text):
    found = stated_by_header(header, text)
    assert (found.other, found.agent, found.doubt) == (None, None, None)


@pytest.mark.parametrize(
    ("bolus", "text", "enhanced"),
    [("GADOVIST", "t1", True), ("", "t1_mprage_sag_KM", True), ("", "AX T1 POST GAD", True), ("", "sag t1 +C", True),
     ("NONE", "t1", False), ("", "AX T1 W/O CONTRAST", False), ("", "t1 pre contrast", False),
     ("", "T1 post op", False)],
)  # fmt: skip
def test_a_contrast_agent_is_a_warning(bolus, text, enhanced):
    found = stated_by_header({"ContrastBolusAgent": bolus}, text)
    assert any("contrast agent" in warning for warning in found.warnings("t1")) == enhanced
    assert found.refusal() is None


@pytest.mark.parametrize(
    ("name", "contrast", "subject"),
    [("BraTS-GLI-00495-000-t1n", "t1", "BraTS-GLI-00495-000"),
     ("BraTS-GLI-00495-000-t2f", "flair", "BraTS-GLI-00495-000"),
     ("IXI013-HH-1212-T2", "t2", "IXI013-HH-1212"), ("T1_brain", "t1", "folder"), ("T2_FLAIR_brain", "flair", "folder"),
     ("T1", "t1", "folder"), ("sub-01_ses-2_T1w", "t1", "sub-01_ses-2"), ("pd_012", None, "pd"),
     ("scan", None, "scan")],
)  # fmt: skip
def test_names_of_known_collections_state_contrast_and_subject(tmp_path, name, contrast, subject):
    scan = tmp_path / "folder" / f"{name}.nii.gz"
    assert (contrast_of(scan), subject_of(scan)) == (contrast, subject)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("IXI013-HH-1212-PD", "proton"), ("sub-01_PDw", "proton"), ("sub-01_task-rest_bold", "functional"),
     ("sub-01_dwi", "diffusion"), ("sub-01_T1map", "map of numbers"), ("sub-01_part-phase_T1w", "phase"),
     ("sub-01_inv-1_MP2RAGE", "MP2RAGE"), ("IXI013-HH-1212-MRA", "angiogram"), ("sub-01_T2starw", "susceptibility")],
)  # fmt: skip
def test_a_name_states_an_image_of_another_kind(name, kind):
    assert kind in (stated_by_name(name).other or "")


def test_images_of_other_kinds_in_a_folder_are_left_out_with_a_word(tmp_path, caplog):
    for name in ("a-T1", "a-PD", "a-seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    assert [case.scan.name for case in find_cases([tmp_path], stated_only=True)] == ["a-T1.nii.gz"]
    assert "1 files are by their names no T1, T2 or FLAIR: left out: a-PD.nii.gz" in caplog.text
    assert len(find_cases([tmp_path])) == 2, "for a model of the user's own"


def test_the_phase_of_a_dataset_is_left_out(bids_dataset, tmp_path):
    raw = Path(shutil.copytree(bids_dataset, tmp_path / "raw"))
    scan = next(raw.rglob("sub-01_T1w.nii"))
    (scan.parent / "sub-01_part-phase_T1w.nii").write_bytes(scan.read_bytes())
    assert len(bids_cases(raw, contrast=None)) == 4


@pytest.mark.parametrize("force", [False, True])
def test_a_series_of_another_kind_is_refused_in_one_line_unless_forced(
    tmp_path, monkeypatch, capsys, small_model, force
):
    write_series(tmp_path / "s", description="ep2d_diff_trace")
    arguments = ["score", tmp_path / "s", "-m", small_model, "-o", tmp_path / "out", *(["--force"] if force else [])]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == (0 if force else 4)
    words = "do not trust map and findings" if force else "its DICOM header states a diffusion image; --force"
    assert words in said.err


def test_a_header_that_contradicts_the_contrast_asked_for_is_a_warning(tmp_path, monkeypatch, capsys, small_model):
    write_series(tmp_path / "s", description="AX T2 FLAIR", change=stated(ContrastBolusAgent="Dotarem"))
    code, said = run(monkeypatch, capsys, "score", tmp_path / "s", "-m", small_model, "-o", tmp_path / "out", "--force")
    assert code == 0
    assert "its DICOM header states flair, it was scored as t1; check --contrast" in said.err
    assert "states a contrast agent (ContrastBolusAgent)" in said.err
