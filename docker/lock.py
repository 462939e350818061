"""Pin what the scoring image installs: docker/requirements.lock, with the SHA-256 of every file of each version.

python docker/lock.py      with the image's Python, 3.11; it asks PyPI, as pip does

pip resolves the requirements anew. All Linux wheels of a version are listed: the lock serves x86-64 and Arm alike.
"""

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
INDEX = "https://pypi.org/simple"
JSON = "application/vnd.pypi.simple.v1+json"
HEAD = """# What the scoring image installs, by `python docker/lock.py`; pip checks the SHA-256 of each file.
# Do not edit: change pyproject.toml, then run that command.
"""


def resolved() -> list[tuple[str, str]]:
    """Return name and version of each package that pip would install into an empty environment, by name."""
    wanted = subprocess.run(
        [sys.executable, "docker/requirements.py", "dicom"], cwd=HERE.parent, capture_output=True, text=True, check=True
    )
    with tempfile.TemporaryDirectory() as folder:
        requirements, report = Path(folder) / "requirements.txt", Path(folder) / "report.json"
        requirements.write_text(wanted.stdout)
        options = ["--dry-run", "--ignore-installed", "--quiet", "--only-binary", ":all:", "--index-url", INDEX]
        command = [sys.executable, "-m", "pip", "install", *options, "--report", report, "-r", requirements]
        subprocess.run(command, check=True, env=os.environ | {"PIP_CONFIG_FILE": os.devnull})  # noqa: S603 - our own files
        found = json.loads(report.read_text())["install"]
    about = [package["metadata"] for package in found]
    return sorted((one["name"].lower().replace("_", "-"), one["version"]) for one in about)


def hashes(name: str, version: str) -> list[str]:
    """Return the SHA-256 of each wheel of a version on PyPI."""
    request = urllib.request.Request(f"{INDEX}/{name}/", headers={"Accept": JSON})  # noqa: S310 - https above
    with urllib.request.urlopen(request) as answer:  # noqa: S310
        files = json.load(answer)["files"]
    stem = f"{name}-{version}-".replace("-", "_").lower()
    wheels = [file for file in files if fits(file["filename"])]
    return sorted(
        file["hashes"]["sha256"] for file in wheels if file["filename"].lower().replace("-", "_").startswith(stem)
    )


def fits(file: str) -> bool:
    """Tell whether a file is a wheel for this Python on some Linux.

    >>> fits("numpy-2.4.1-cp311-cp311-manylinux_2_28_aarch64.whl"), fits("numpy-2.4.1-cp312-cp312-win_amd64.whl")
    (True, False)
    """
    if not file.endswith(".whl"):
        return False
    python, abi, platform = file.removesuffix(".whl").split("-")[-3:]
    own = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return (own in python or abi == "abi3" or python.startswith("py")) and ("linux" in platform or platform == "any")


def main() -> None:
    """Write the lock file."""
    lines = [HEAD]
    for name, version in resolved():
        found = hashes(name, version)
        if not found:
            sys.exit(f"{name} {version} has no wheel for this Python on {INDEX}")
        lines.append(" \\\n    ".join([f"{name}=={version}", *(f"--hash=sha256:{digest}" for digest in found)]) + "\n")
    (HERE / "requirements.lock").write_text("".join(lines))


if __name__ == "__main__":
    main()
