"""The notebook of the docs runs, and is kept without outputs."""

import json

import pytest
from support.places import ROOT

NOTEBOOK = ROOT / "docs" / "how-to" / "notebook.ipynb"


@pytest.fixture(scope="module")
def cells():
    """Return the notebook's cells, each with its text."""
    content = json.loads(NOTEBOOK.read_text())
    assert content["nbformat"] == 4
    return [cell | {"text": "".join(cell["source"])} for cell in content["cells"]]


@pytest.mark.full
def test_every_cell_runs_in_turn(cells, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "docs" / "how-to"
    folder.mkdir(parents=True)
    (tmp_path / "sample_data").symlink_to(ROOT / "sample_data")
    monkeypatch.chdir(folder)
    known = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile(cell["text"], NOTEBOOK.name, "exec"), known)
    said = capsys.readouterr().out
    assert "left parietal lobe" in said
    assert "crtut_t2_desc-combi_dseg.nii.gz" in said
    assert (folder / "results" / "crtut_t2_scores.json").is_file()


def test_outputs_are_not_kept(cells):
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert not any(cell["outputs"] or cell["execution_count"] for cell in code)
