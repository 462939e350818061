"""The cohort table: its columns, and that it is a list of scans too."""

from pathlib import Path

import nibabel as nib
import numpy as np
from support.commands import names, rows, run

from vae_loc.results.cohort_table import SCHEMA_VERSION, Entry
from vae_loc.scans.cases import Case, find_cases


def test_the_documented_columns_are_those_of_the_table(request, tmp_path):
    page = (request.config.rootpath / "docs/how-to/cohorts.md").read_text()
    page = page.split("## The cohort table")[1].split("\n## ")[0]
    documented = [
        cell.strip("`") for line in page.splitlines() if line.startswith("| `") for cell in line.split("|")[1].split()
    ]
    row = Entry(Case(Path("a.nii"), "a", None), "failed", 0.0).row(tmp_path).cells(["combi"])
    assert [name.replace("combi_", "<map>_") for name in row] == documented


def test_each_row_states_the_schema_and_a_failed_scan_has_empty_cells(tmp_path):
    row = Entry(Case(Path("a.nii"), "a", None, "t2"), "failed", 1.234, error="a.nii: gone", exit_code=4).row(tmp_path)
    cells = row.cells(["combi"])
    assert list(cells)[-1] == "schema_version"
    known = {name: value for name, value in cells.items() if value is not None}
    stated = {"subject": "a", "contrast": "t2", "status": "failed", "error": "a.nii: gone", "seconds": 1.23}
    assert known == {"scan": str(Path("a.nii").absolute()), **stated, "schema_version": SCHEMA_VERSION}


def test_a_table_written_is_a_list_of_scans_to_read(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    run(monkeypatch, capsys, "score", mixed_folder, "-m", small_model, "-o", tmp_path / "out")
    assert [case.scan.name for case in find_cases([tmp_path / "out" / "cohort.csv"])] == sorted(names(mixed_folder))


def test_a_table_fed_back_keeps_the_masks(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    scan, mask = mixed_folder / "sub0_t1.nii.gz", tmp_path / "my mask.nii.gz"
    image = nib.load(scan)
    nib.save(nib.Nifti1Image((image.get_fdata() > 0).astype(np.uint8), image.affine), mask)
    (tmp_path / "in.csv").write_text(f"scan,mask\n{scan},{mask}\n{mixed_folder / 'sub1_t1.nii.gz'},\n")
    run(monkeypatch, capsys, "score", tmp_path / "in.csv", "-m", small_model, "-o", tmp_path / "out")
    assert [case.brain_mask for case in find_cases([tmp_path / "out" / "cohort.csv"])] == [mask, None]
    run(monkeypatch, capsys, "score", tmp_path / "out/cohort.csv", "-m", small_model, "-o", tmp_path / "again")
    assert [row["brain_mask"] for row in rows(tmp_path / "again/cohort.csv")] == ["file", "skull-stripped"]


def test_the_mask_of_an_option_is_the_table_s_too(mixed_folder, tmp_path, small_model, monkeypatch, capsys):
    image = nib.load(mixed_folder / "sub0_t1.nii.gz")
    nib.save(nib.Nifti1Image((image.get_fdata() > 0).astype(np.uint8), image.affine), tmp_path / "m.nii.gz")
    arguments = ["score", mixed_folder, "-m", small_model, "-o", tmp_path / "out"]
    run(monkeypatch, capsys, *arguments, "--brain-mask", tmp_path / "m.nii.gz")
    assert [row["mask"] for row in rows(tmp_path / "out/cohort.csv") if row["status"] == "done"] == [
        str(tmp_path / "m.nii.gz")
    ] * 3
