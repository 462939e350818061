"""What the pages on installation and 3D Slicer show works, as far as Linux without containers and Slicer can tell."""

import re
import shutil
import subprocess

import pytest
from support.commands import script
from support.places import ROOT

PAGE = ROOT / "docs" / "how-to" / "install.md"
SLICER = ROOT / "docs" / "how-to" / "slicer.md"
HEADER = "index\tname\tsign\tstrength\n"


@pytest.fixture
def definition():
    return (ROOT / "docker" / "apptainer.def").read_text()


def test_the_colour_table_names_each_finding_by_its_voxels_value(tmp_path):
    if shutil.which("awk") is None:
        pytest.skip("needs awk")
    (tmp_path / "results").mkdir()
    table = tmp_path / "results" / "crtut_t2_desc-combi_dseg.tsv"
    table.write_text(HEADER + "1\tfinding 1\tbrighter\t21.1\n2\tfinding 2\tdarker\t13\n")
    subprocess.run(["bash", "-ec", script(SLICER, "awk")], cwd=tmp_path, check=True)
    lines = [line.split(" ") for line in table.with_suffix(".ctbl").read_text().splitlines()]
    assert [line[:2] for line in lines] == [["0", "background"], ["1", "finding_1_brighter"], ["2", "finding_2_darker"]]
    assert all(len(line) == 6 and all(0 <= int(part) <= 255 for part in line[2:]) for line in lines)


def test_the_columns_that_the_colour_table_needs_are_where_it_looks():
    from vae_loc.scoring.finding_model import Finding, columns_of

    assert [*columns_of(Finding)][:4] == HEADER.split()


def test_apptainer_and_docker_make_the_same_of_the_same_files(definition):
    dockerfile = (ROOT / "Dockerfile").read_text()
    base = re.search(r"^From: (\S+)", definition, re.M)[1]
    assert f"docker.io/library/{base}" in dockerfile
    assert re.fullmatch(r"python@sha256:[0-9a-f]{64}", base), "a tag moves, a digest does not"
    (index,) = re.findall(r"--extra-index-url (\S+)", definition)
    assert f"TORCH_INDEX={index}\n" in dockerfile
    copied = re.findall(r"^    (\S+) /src/\S+$", definition, re.M)
    assert len(copied) == 5
    for name in copied:
        assert (ROOT / name).exists()
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", dockerfile, re.M), name


def test_the_page_asks_for_the_pytorch_that_the_package_needs():
    (needed,) = re.findall(r'"torch(>=[^"]+)"', (ROOT / "pyproject.toml").read_text())
    assert f'"torch{needed}"' in PAGE.read_text()
