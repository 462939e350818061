"""The Python of a tutorial runs, in its order, on the tables that its command makes, and says what is in them."""

import importlib.util
import re

import numpy as np
import pytest
from support.commands import invoke
from support.places import ROOT

PAGE = ROOT / "docs/tutorials/groups.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, patients, healthy_folder, model_file):
    """A folder with the results of six patients and five controls, as the tutorial's command leaves them."""
    folder = tmp_path_factory.mktemp("tutorial")
    lines = [f"{patients / f'p{n}_t1.nii.gz'},p{n},patient,{60 + n}" for n in range(6)]
    lines += [f"{healthy_folder / f'sub{n}_t1.nii.gz'},c{n},control,{50 + n}" for n in range(5)]
    (folder / "table.csv").write_text("\n".join(["scan,subject,group,age", *lines]))
    invoke("segment", folder / "table.csv", "-o", folder / "results", "-m", model_file, "--template-space")
    return folder


def test_the_tutorial_on_groups_ends_with_a_figure_and_a_test(folder, monkeypatch, capsys):
    pytest.importorskip("pandas")
    import matplotlib as mpl

    mpl.use("Agg")
    monkeypatch.chdir(folder)
    known = {}
    blocks = BLOCK.findall(PAGE.read_text())
    assert len(blocks) == 6
    for block in blocks:
        if "# needs nilearn" not in block or importlib.util.find_spec("nilearn"):
            exec(compile(block, str(PAGE), "exec"), known)
    mpl.pyplot.close("all")
    said = capsys.readouterr().out
    assert (folder / "groups.png").stat().st_size > 5000
    assert "control against patient: p = " in said
    # patients, five of six with a ball, have more than those on whom the model learned
    assert known["groups"]["patient"]["marked_ml"].median() > known["groups"]["control"]["marked_ml"].median()
    assert known["more"] < 0.5
    assert 0 < known["test"].pvalue < 1
    assert len(known["people"]) == 11
    assert "patient: a place where" in said
    assert known["share"].shape == (99, 117, 95)
    assert 2 / 6 <= known["share"].max() < 1  # of patients, whose balls lie side by side
    assert np.all(known["result"]["q"] >= known["result"]["p"])
