"""The versions that the scoring image installs are those that pyproject.toml allows, each with its hashes."""

import re
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def test_the_lock_pins_every_requirement_of_the_scoring_image_within_its_range():
    command = [sys.executable, "docker/requirements.py", "dicom"]
    wanted = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    text = (ROOT / "docker" / "requirements.lock").read_text()
    pins = dict(re.findall(r"^([a-z0-9.-]+)==(\S+) \\$", text, re.M))
    assert len(wanted) > 10
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pins[requirement.name.lower()]), requirement
    for pin in re.split(r"^(?=\S)", text, flags=re.M)[3:]:
        assert re.fullmatch(r"\S+==\S+( \\\n    --hash=sha256:[0-9a-f]{64})+\n", pin), pin
