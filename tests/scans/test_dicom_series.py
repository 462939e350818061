"""A DICOM series becomes a scan that lies where its headers say."""

import gzip
import json
import logging
import shutil

import nibabel as nib
import numpy as np
import pytest
from support.commands import rows, run
from support.dicoms import series_of, stated, write_series, zipped
from support.marks import full

from vae_loc.errors import UnusableInput
from vae_loc.scans.cases import find_cases
from vae_loc.scans.dicom_series import convert_dicom, is_dicom, nifti_bytes
from vae_loc.scans.dicom_study import best_series
from vae_loc.scans.people import people_in


def image_of(folder):
    return nib.Nifti1Image.from_bytes(gzip.decompress(nifti_bytes(series_of(folder))))


def test_an_oblique_series_lies_where_its_headers_say(series_folder):
    folder, affine, data = series_folder
    image = image_of(folder)
    voxels = np.argwhere(np.asarray(image.dataobj) > 0)
    world = voxels @ image.affine[:3, :3].T + image.affine[:3, 3]
    back = (world - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    assert np.abs(back - back.round()).max() < 1e-4
    assert np.array_equal(image.get_fdata()[tuple(voxels.T)], data[tuple(back.round().astype(int).T)])
    assert len(voxels) == np.count_nonzero(data)


def test_simpleitk_puts_every_voxel_in_the_same_place(series_folder):
    import SimpleITK as sitk

    folder, *_ = series_folder
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder / "DICOM" / "SE000"))
    other = sitk.ReadImage(names)
    image = image_of(folder)
    values = sitk.GetArrayFromImage(other).T
    for index in np.argwhere(values > 0)[::997]:
        world = np.array(other.TransformIndexToPhysicalPoint([int(i) for i in index])) * [-1, -1, 1]
        place = (np.linalg.inv(image.affine) @ [*world, 1])[:3]
        assert np.allclose(place, place.round(), atol=1e-3)
        assert image.get_fdata()[tuple(place.round().astype(int))] == values[tuple(index)]


def test_a_zip_gives_the_bytes_of_its_folder(series_folder, tmp_path):
    archive = zipped(series_folder[0], tmp_path / "pat_t1.zip")
    assert nifti_bytes(series_of(archive)) == nifti_bytes(series_of(series_folder[0]))


def test_an_enhanced_file_gives_what_its_slices_give(series_folder, tmp_path):
    import highdicom as hd
    from pydicom import dcmread

    slices = [dcmread(file) for file in sorted(series_folder[0].rglob("IM*"))]
    uids = {"series_instance_uid": hd.UID(), "sop_instance_uid": hd.UID()}
    enhanced = hd.legacy.LegacyConvertedEnhancedMRImage(slices, series_number=2, instance_number=1, **uids)
    enhanced.save_as(tmp_path / "one.dcm")
    assert is_dicom(tmp_path / "one.dcm")
    found, expected = image_of(tmp_path / "one.dcm"), image_of(series_folder[0])
    for image in (found, expected):
        voxels = np.argwhere(image.get_fdata() > 0) @ image.affine[:3, :3].T + image.affine[:3, 3]
        image.world = voxels[np.lexsort(voxels.round(2).T)]
    assert np.allclose(found.world, expected.world, atol=1e-3)


def test_several_series_are_listed_one_a_line_and_one_is_chosen(tmp_path, caplog):
    folder = tmp_path / "both"
    write_series(folder / "a", number=1, description="sag")
    write_series(folder / "b", number=2, description="axial of Petra")
    write_series(folder / "c", number=3, description="", change=stated(Modality="CT"))
    logging.getLogger("vae_loc").propagate = True
    with pytest.raises(UnusableInput, match="expected one series, found 2; choose one with --series") as refused:
        series_of(folder)
    table = list(dict.fromkeys(record.getMessage() for record in caplog.records))
    assert len(table) == 3
    assert "  ?      number 1, MR, 34 x 54 x 44, sag" in table[0]
    assert "  ?      number 2, MR, 34 x 54 x 44" in table[1]
    assert "number 3, CT" in table[2], "what is no MR comes last"
    assert "Petra" not in str(refused.value) + caplog.text
    uid = table[0].split()[0]
    assert series_of(folder, uid).uid == uid
    with pytest.raises(UnusableInput, match=r"holds no series 1\.2\.3"):
        series_of(folder, "1.2.3")


def test_the_contrast_that_is_asked_for_chooses_by_the_description(tmp_path):
    folder = tmp_path / "study"
    for number, description in enumerate(("t1_mprage_sag", "AX T2 FLAIR", "localizer"), start=1):
        kind = ["ORIGINAL", "PRIMARY", "LOCALIZER"] if description == "localizer" else ["ORIGINAL", "PRIMARY", "M"]
        write_series(folder / str(number), number=number, description=description, change=stated(ImageType=kind))
    assert series_of(folder, contrast="flair").stated.contrast == "flair"
    assert series_of(folder, contrast="t1").stated.contrast == "t1"
    assert [one.stated.contrast for one in best_series(folder)] == ["t1", "flair"]


def test_of_a_study_the_best_series_of_each_contrast_is_a_scan_of_one_person(tmp_path, caplog):
    wet, thick = stated(ContrastBolusAgent="Dotarem"), stated(MRAcquisitionType="2D")
    of = [
        ("t1 post", wet),
        ("t1 mprage", stated()),
        ("t1 tse", thick),
        ("t2 tse", thick),
        ("DWI", stated()),
        ("x", stated()),
    ]
    for number, (description, change) in enumerate(of, start=1):
        write_series(tmp_path / "pat" / str(number), number=number, description=description, change=change)
    done = convert_dicom([tmp_path / "pat"], tmp_path / "out")
    assert [scan.name for scan in done.paths] == ["pat_t1.nii.gz", "pat_t2.nii.gz"]
    taken = [one.described.rpartition(", ")[2] for one in done.series.values()]
    assert taken == ["t1 mprage", "t2 tse"]
    (person,) = people_in([done.with_header(case, None) for case in find_cases(done.paths)])
    assert list(person.cases) == ["t1", "t2"]
    for words in ("t1 post: not the best t1: a contrast agent", "t1 tse: not the best t1", "DWI: a diffusion image",
                  "x: its contrast is not stated"):  # fmt: skip
        assert words in caplog.text


def test_the_only_mr_volume_of_a_study_is_taken_with_a_word(tmp_path, caplog):
    folder = tmp_path / "study"
    write_series(folder / "a", number=1, description="t2_tse")
    write_series(folder / "b", number=2, description="", change=stated(Modality="PT"))
    write_series(folder / "c", number=3, change=stated(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    logging.getLogger("vae_loc").propagate = True
    assert series_of(folder).stated.contrast == "t2"
    assert "of 3 series the only one that fits was taken" in caplog.text


@pytest.mark.parametrize(("modality", "refused"), [("CT", True), ("PT", True), ("MR", False), ("OT", False)])
def test_another_modality_is_refused_unless_forced(tmp_path, modality, refused):
    write_series(tmp_path / "s", change=stated(Modality=modality))
    faults = convert_dicom([tmp_path / "s"], tmp_path / "out").faults
    assert [f"its modality is {modality}" in str(fault) for fault in faults.values()] == [True] * refused
    assert not convert_dicom([tmp_path / "s"], tmp_path / "out", force=True).faults


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"NumberOfFrames": "many"}, "NumberOfFrames"),
        ({"NumberOfFrames": ["1", "2"]}, "NumberOfFrames"),
        ({"NumberOfFrames": "-3"}, "NumberOfFrames"),
        ({"Rows": [54, 44]}, "Rows"),
        ({"Rows": 0}, "Rows"),
        ({"RescaleSlope": "0"}, "its rescale slope is 0"),
        ({"RescaleSlope": "steep"}, "no regular volume"),
        ({"ImagePositionPatient": ["1", "2"]}, "no regular volume"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "is a mosaic"),
    ],
    ids=str,
)
def test_a_header_that_says_nonsense_is_one_refusal(tmp_path, values, words):
    write_series(tmp_path / "s", change=stated(**values))
    (fault,) = convert_dicom([tmp_path / "s"], tmp_path / "out").faults.values()
    assert words in str(fault)
    assert not (tmp_path / "out").exists()


def test_images_without_a_frame_of_reference_are_a_scan(tmp_path, series_folder):
    write_series(tmp_path / "s", change=stated(FrameOfReferenceUID=None))
    assert np.allclose(image_of(tmp_path / "s").affine, image_of(series_folder[0]).affine)


def test_a_missing_slice_is_located(series_folder, tmp_path):
    folder = tmp_path / "gap"
    shutil.copytree(series_folder[0], folder)
    files = sorted(folder.rglob("IM*"))
    from pydicom import dcmread

    middle = next(f for f in files if dcmread(f, stop_before_pixels=True).InstanceNumber == 17)
    middle.unlink()
    with pytest.raises(UnusableInput, match="no regular volume of 33 slices") as refused:
        nifti_bytes(series_of(folder))
    assert "a gap of 10 mm between slices 16 and 17 at" in str(refused.value)
    assert "where 5 mm is usual" in str(refused.value)


def test_a_slice_that_is_there_twice_is_located(series_folder, tmp_path):
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    folder = tmp_path / "twice"
    shutil.copytree(series_folder[0], folder)
    image = dcmread(next(folder.rglob("IM*")))
    image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    image.save_as(folder / "again")
    with pytest.raises(UnusableInput, match="the same slice twice of 0 mm between slices"):
        nifti_bytes(series_of(folder))


@pytest.mark.parametrize("kind", ["gap", full("no brain")])
def test_nothing_stays_of_a_series_that_is_refused(series_folder, tmp_path, small_model, monkeypatch, capsys, kind):
    folder = tmp_path / "pat_t1"
    if kind == "gap":
        shutil.copytree(series_folder[0], folder)
        next(folder.rglob("IM*")).unlink()
    else:
        write_series(folder, change=lambda image, k: setattr(image, "PixelData", random_pixels(k)))
    code, said = run(monkeypatch, capsys, "score", folder, "-m", small_model, "-o", tmp_path / "out")
    assert code == 4
    assert said.err.splitlines()[-1].startswith("vae-loc: ")
    assert not (tmp_path / "out").exists()


def random_pixels(k):
    """The bytes of one slice of noise in a box."""
    return np.random.default_rng(k).integers(200, 400, (54, 44)).astype(np.uint16).tobytes()


def test_one_bad_series_among_good_scans_is_a_row(good, tmp_path, small_model, monkeypatch, capsys):
    write_series(tmp_path / "bad_t1", change=stated(Rows=[54, 44]))
    arguments = ["score", good, tmp_path / "bad_t1", "-m", small_model, "-o", tmp_path / "out"]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 3
    assert "Rows" in said.err
    assert [row["status"] for row in rows(tmp_path / "out" / "cohort.csv")] == ["done", "failed"]


@pytest.mark.full
def test_the_contrast_of_a_nameless_series_is_that_of_its_description(tmp_path, monkeypatch, capsys):
    write_series(tmp_path / "series", description="AX T2 FLAIR")
    arguments = ["score", tmp_path / "series", "-o", tmp_path / "out", "--force"]
    assert run(monkeypatch, capsys, *arguments)[0] == 0
    summary = json.loads((tmp_path / "out" / "series_scores.json").read_text())
    assert summary["model"]["contrast"] == "flair"


@pytest.mark.parametrize(
    ("left", "words"),
    [(-500, "no regular volume of 34 slices: The number of bytes of pixel data is less than expected"),
     (400, "no regular volume of 33 slices: Series is not a regularly-spaced volume")],
    ids=["pixels", "header"],
)  # fmt: skip
def test_a_cut_file_makes_its_series_refused_by_name_and_reason(series_folder, tmp_path, left, words):
    from pydicom import dcmread

    folder = tmp_path / "cut"
    shutil.copytree(series_folder[0], folder)
    file = next(f for f in folder.rglob("IM*") if dcmread(f, stop_before_pixels=True).InstanceNumber == 17)
    file.write_bytes(file.read_bytes()[:left])
    with pytest.raises(UnusableInput, match=rf"cut: series [0-9.]+ is {words}"):
        nifti_bytes(series_of(folder))


def test_a_scan_of_the_same_name_is_never_overwritten(series_folder, tmp_path):
    (tmp_path / "pat_t1.nii.gz").write_bytes(b"precious")
    (fault,) = convert_dicom([series_folder[0]], tmp_path).faults.values()
    assert "is there already" in str(fault)
    assert (tmp_path / "pat_t1.nii.gz").read_bytes() == b"precious"


def test_folders_of_nifti_are_no_dicom(scan):
    assert not is_dicom(scan.parent)
    assert not is_dicom(scan)
