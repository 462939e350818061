"""Which scans are of one person."""

from pathlib import Path

from vae_loc.results.score_bids import bids_cases
from vae_loc.scans.cases import Case, find_cases
from vae_loc.scans.people import people_in


def grouped(cases):
    return {person.name: {c: case.scan.as_posix() for c, case in person.cases.items()} for person in people_in(cases)}


def in_folder(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return find_cases([folder])


def test_scans_of_one_name_in_one_folder_are_of_one_person_the_t1_first(tmp_path):
    cases = in_folder(
        tmp_path, "glioma_11_flair.nii.gz", "glioma_11_t1.nii.gz", "glioma_11_t2.nii.gz", "glioma_2_t1.nii"
    )
    people = people_in(cases)
    assert [(person.name, list(person.cases)) for person in people] == [
        ("glioma_11", ["t1", "t2", "flair"]),
        ("glioma_2", ["t1"]),
    ]
    assert people[0].first.scan.name == "glioma_11_t1.nii.gz"


def test_sessions_and_folders_keep_people_apart():
    paths = ["s/sub-01_ses-1_T1w.nii", "s/sub-01_ses-2_acq-a_FLAIR.nii", "s/sub-01_ses-1_acq-b_run-2_T2w.nii"]
    cases = [Case(Path(path), "sub-01", None) for path in paths]
    assert {name: list(of) for name, of in grouped(cases).items()} == {
        "sub-01_ses-1": ["t1", "t2"],
        "sub-01_ses-2": ["flair"],
    }
    other_site = [Case(Path(f"{site}/p1_{contrast}.nii"), "p1", None) for site in "ab" for contrast in ("t1", "t2")]
    assert [list(person.cases) for person in people_in(other_site)] == [["t1", "t2"]] * 2
    assert len({person.name for person in people_in(other_site)}) == 2


def test_a_table_joins_scans_of_several_folders_by_their_subject(tmp_path):
    rows = "scan,subject,contrast\nT1/x.nii,ann,T1w\nFLAIR/y.nii,ann,flair\nT1/z.nii,bob,t1\n"
    (tmp_path / "scans.csv").write_text(rows)
    people = people_in(find_cases([tmp_path / "scans.csv"]))
    assert [(person.name, list(person.cases)) for person in people] == [("ann", ["t1", "flair"]), ("bob", ["t1"])]


def test_numbered_scans_of_no_named_contrast_are_of_nobody(tmp_path):
    assert people_in(in_folder(tmp_path, "patient_001.nii", "patient_002.nii", "scan.nii")) == []


def test_a_second_scan_of_a_contrast_is_left_out():
    cases = [Case(Path(f"sub-01_run-{run}_T1w.nii"), "sub-01", None) for run in (1, 2)]
    (person,) = people_in(cases)
    assert (person.first, person.left_out) == (cases[0], (cases[1],))


def test_the_contrasts_of_a_bids_session_are_of_one_person(bids_dataset):
    people = people_in(bids_cases(bids_dataset, contrast=None))
    assert {person.name: list(person.cases) for person in people} == {
        "sub-01": ["t1", "flair"],
        "sub-02_ses-1": ["t1"],
        "sub-02_ses-2": ["t1"],
    }
