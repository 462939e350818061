"""A DICOM Segmentation holds the mask in its place, and no other output names the patient."""

import gzip
import json
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
from support.commands import invoke, run
from support.dicoms import PATIENT, oblique, stated, write_series
from support.marks import full
from support.phantoms import BALL


@pytest.fixture(scope="module")
def segmented(series_folder, tmp_path_factory, model_file):
    out = tmp_path_factory.mktemp("seg")
    options = ["-m", model_file, "-o", out, "--fpr", "0.01", "--dicom-seg", "--report"]
    return out, invoke("segment", series_folder[0], *options).output


def test_the_segmentation_holds_the_mask_where_it_lies(segmented, series_folder):
    import highdicom as hd

    out, _ = segmented
    found = hd.seg.segread(out / "pat_t1_desc-combi_dseg.dcm")
    volume = found.get_volume(combine_segments=True)
    mask = nib.load(out / "pat_t1_desc-combi_mask.nii.gz")

    def world(array, affine):
        points = np.argwhere(np.asarray(array) > 0) @ affine[:3, :3].T + affine[:3, 3]
        return points[np.lexsort(points.round(2).T)]

    ours, theirs = world(mask.dataobj, mask.affine), world(volume.array, volume.get_affine("RAS"))
    assert len(ours) > 0
    assert np.allclose(ours, theirs, atol=1e-3)


def test_each_finding_is_a_segment_that_says_what_is_known_of_it(segmented):
    from pydicom import dcmread

    out, _ = segmented
    findings = json.loads((out / "pat_t1_scores.json").read_text())["masks"]["combi"]["findings"]
    found = dcmread(out / "pat_t1_desc-combi_dseg.dcm")
    assert [segment.SegmentDescription for segment in found.SegmentSequence] == [f["words"] for f in findings]
    assert {segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning for segment in found.SegmentSequence} == {
        "Finding"
    }
    marked = {
        (frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber)
        for frame in found.PerFrameFunctionalGroupsSequence
    }
    assert marked == {f["number"] for f in findings}


def test_no_finding_is_one_empty_segment_that_says_so(series_folder, model_file, tmp_path):
    from pydicom import dcmread

    invoke("segment", series_folder[0], "-m", model_file, "-o", tmp_path, "--threshold", "1000", "--dicom-seg")
    found = dcmread(tmp_path / "pat_t1_desc-combi_dseg.dcm")
    assert [segment.SegmentLabel for segment in found.SegmentSequence] == ["no finding"]
    assert not found.pixel_array.any()


def test_the_segmentation_refers_to_the_source_series(segmented, series_folder):
    from pydicom import dcmread

    found = dcmread(segmented[0] / "pat_t1_desc-combi_dseg.dcm")
    sources = [dcmread(file, stop_before_pixels=True) for file in series_folder[0].rglob("IM*")]
    (referred,) = found.ReferencedSeriesSequence
    assert referred.SeriesInstanceUID == sources[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referred.ReferencedInstanceSequence} == {
        source.SOPInstanceUID for source in sources
    }
    assert (found.StudyInstanceUID, found.PatientID) == (sources[0].StudyInstanceUID, "P-4711")
    assert found.FrameOfReferenceUID == sources[0].FrameOfReferenceUID


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="needs dicom3tools")
def test_dciodvfy_finds_no_error(segmented):
    path = segmented[0] / "pat_t1_desc-combi_dseg.dcm"
    said = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True).stderr
    assert "Segmentation" in said
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_an_enhanced_series_that_states_its_pixels_by_frame_has_a_segmentation(series_folder, tmp_path, model_file):
    """As Siemens XA writes them."""
    import highdicom as hd
    from pydicom import dcmread

    slices = [dcmread(file) for file in sorted(series_folder[0].rglob("IM*"))]
    uids = {"series_instance_uid": hd.UID(), "sop_instance_uid": hd.UID()}
    enhanced = hd.legacy.LegacyConvertedEnhancedMRImage(slices, series_number=2, instance_number=1, **uids)
    (shared,) = enhanced.SharedFunctionalGroupsSequence
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        for frame in enhanced.PerFrameFunctionalGroupsSequence:
            setattr(frame, name, shared[name].value)
        delattr(shared, name)
    (tmp_path / "s").mkdir()
    enhanced.save_as(tmp_path / "s" / "one.dcm")
    options = ["-m", model_file, "-o", tmp_path / "out", "--fpr", "0.01", "--dicom-seg"]
    assert invoke("segment", tmp_path / "s", *options).exit_code == 0
    found = hd.seg.segread(tmp_path / "out" / "s_desc-combi_dseg.dcm").get_volume(combine_segments=True)
    mask = nib.load(tmp_path / "out" / "s_desc-combi_mask.nii.gz").get_fdata()
    assert np.count_nonzero(found.array) == np.count_nonzero(mask) > 0
    # each finding names the frame of its peak
    places = [
        frame.PlanePositionSequence[0].ImagePositionPatient for frame in enhanced.PerFrameFunctionalGroupsSequence
    ]
    findings = json.loads((tmp_path / "out" / "s_scores.json").read_text())["masks"]["combi"]["findings"]
    affine = nib.load(tmp_path / "out" / "s.nii.gz").affine
    for finding in findings:
        x, y, z = places[int(finding["image_number"]) - 1]
        assert round((np.linalg.inv(affine) @ [-x, -y, z, 1])[2]) == finding["peak_voxel"][2]
    assert findings


def test_the_images_of_the_findings_are_said_by_their_numbers(segmented, series_folder):
    """`write_series` numbers the images from 1 along the slices of the scan, whose voxels are (column, row, slice)."""
    from pydicom import dcmread

    out, said = segmented
    (finding, *_) = json.loads((out / "pat_t1_scores.json").read_text())["masks"]["combi"]["findings"]
    place = nib.load(out / "pat_t1.nii.gz").affine @ [*finding["peak_voxel"], 1]
    affine, _ = oblique()
    number = round((np.linalg.inv(affine) @ place)[2]) + 1
    assert finding["image_number"] == str(number)
    assert f", image {number}" in finding["words"]
    assert f", image {number}" in " ".join(said.split())
    images = [dcmread(file, stop_before_pixels=True) for file in series_folder[0].rglob("IM*")]
    assert [image.InstanceNumber for image in images if image.SOPInstanceUID == finding["image_uid"]] == [number]


def test_no_output_but_the_segmentation_names_the_patient(segmented):
    out, said = segmented
    for part in (*PATIENT.split("^"), "P-4711"):
        assert part not in said
        for path in out.rglob("*"):
            if path.is_file() and path.suffix != ".dcm":
                assert part.encode() not in content(path), path.name


def content(path):
    raw = path.read_bytes()
    return gzip.decompress(raw) if path.suffix == ".gz" else raw


def test_a_segmentation_needs_a_series(scan, model_file, tmp_path, monkeypatch, capsys):
    arguments = ["segment", scan, "-m", model_file, "-o", tmp_path / "out", "--dicom-seg"]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 2
    assert said.err == "vae-loc: --dicom-seg: none of the scans is a DICOM folder or zip; leave it out\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "values",
    [
        {"StudyDate": "***", "PatientSex": "0000"},
        {"StudyDate": None, "StudyTime": None, "PatientBirthDate": None, "PatientSex": None, "PatientID": None},
        full({"StudyTime": "25:61", "PatientBirthDate": "unknown"}),
        full({"PatientName": None, "StudyID": None, "AccessionNumber": None, "SliceThickness": None}),
    ],
    ids=str,
)
def test_an_anonymised_series_gets_its_segmentation(values, tmp_path, small_model, monkeypatch, capsys):
    import highdicom as hd

    write_series(tmp_path / "pat_t1", ball=BALL, change=stated(**values))
    arguments = [
        "segment",
        tmp_path / "pat_t1",
        "-m",
        small_model,
        "-o",
        tmp_path / "out",
        "--fpr",
        "0.05",
        "--dicom-seg",
    ]
    code, said = run(monkeypatch, capsys, *arguments)
    assert code == 0, said.err
    found = hd.seg.segread(tmp_path / "out" / "pat_t1_desc-combi_dseg.dcm")
    assert len(found.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 34
    emptied = sorted(name for name, value in values.items() if value)
    assert not any(found.get(name) for name in emptied)
    assert all(name in said.err for name in emptied)


@pytest.mark.full
def test_a_segmentation_of_earlier_findings_does_not_stay(series_folder, small_model, tmp_path):
    arguments = [series_folder[0], "-m", small_model, "-o", tmp_path]
    foreign = tmp_path / "pat_t1_desc-recerror_dseg.dcm"
    for command, stays in ((["segment", "--fpr", "0.05"], False), (["score"], True), (["score", "--raw"], False)):
        invoke("segment", *arguments, "--fpr", "0.01", "--dicom-seg")
        foreign.write_bytes(b"mine")
        assert (tmp_path / "pat_t1_desc-combi_dseg.dcm").exists()
        invoke(*command[:1], *arguments, *command[1:])
        assert (tmp_path / "pat_t1_desc-combi_dseg.dcm").exists() == stays
        assert foreign.read_bytes() == b"mine"
