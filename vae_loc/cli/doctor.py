"""The command doctor: the versions, packages, devices, models and disks of an installation, and their faults."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, metadata, requires
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

import typer

import vae_loc
from vae_loc.cli.console import say
from vae_loc.cli.options import AsJson
from vae_loc.errors import UnusableModel, VaeLocError, printable
from vae_loc.system.versions import installed_version, own_version

MIN_FREE_GB = 1.0  # of disk: the outputs of some tens of scans
REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+)(?:.*;.*extra == ['\"]([\w-]+)['\"])?")
MARKS = {"ok": "ok", "absent": "--", "fault": "!!"}


@dataclass(frozen=True)
class Check:
    """One thing looked at: `absent` is not needed by everybody; `exit_code` is that of a fault."""

    topic: str
    state: Literal["ok", "absent", "fault"]
    text: str
    exit_code: int = 0


def examine(folder: Path) -> Iterator[Check]:
    """Yield the state of versions, packages, devices, models and disks; outputs would go to `folder`."""
    from vae_loc.system.worker_processes import fitting_jobs
    from vae_loc.system.writing import check_place

    yield Check("vae-loc", "ok", f"{own_version()} in {Path(vae_loc.__file__).parent}")
    yield Check("python", "ok", f"{platform.python_version()}, {platform.platform()}")
    yield from _packages()
    memory_gb = float("nan")
    with contextlib.suppress(ValueError, OSError, AttributeError):  # not known on this system
        memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    free = f"free for --jobs {fitting_jobs()} of whole heads"
    yield Check("processor", "ok", f"{os.cpu_count()} CPUs, {memory_gb:.0f} GB of memory, {free}")
    if find_spec("torch") is None:
        yield Check("devices", "absent", "no PyTorch: cpu only, no training")
    else:
        import torch

        cuda = [f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
        mps = ["mps"] if torch.backends.mps.is_available() else []
        yield Check("devices", "ok", ", ".join(["cpu", *cuda, *mps]))
    yield from _models()
    for place in dict.fromkeys((folder.absolute(), Path(tempfile.gettempdir()))):
        try:
            check_place(place / "vae-loc-doctor.json")
            free_gb = shutil.disk_usage(place).free / 1e9
        except (VaeLocError, OSError) as error:
            yield Check(f"disk {place}", "fault", str(error), 4)
            continue
        short = free_gb < MIN_FREE_GB
        text = f"{free_gb:.1f} GB free, can be written" + ("; make room" if short else "")
        yield Check(f"disk {place}", "fault" if short else "ok", text, 4 if short else 0)


def _packages() -> Iterator[Check]:
    """Yield each package that the distribution needs, then each extra as a whole."""
    try:
        needed = [match for text in requires("vae-loc") or [] if (match := REQUIREMENT.match(text))]
        extras = metadata("vae-loc").get_all("Provides-Extra") or []
    except PackageNotFoundError:
        yield Check("packages", "absent", "vae-loc is not installed here, it runs from a checkout")
        return
    for name in (match[1] for match in needed if match[2] is None):
        if (installed := installed_version(name)) is not None:
            yield Check(name, "ok", installed)
        elif name == "torch":  # scoring on a CPU does without
            yield Check(name, "absent", "missing; needed for training and GPUs")
        else:
            yield Check(name, "fault", "missing; install vae-loc again", 4)
    for extra in (name for name in extras if name not in ("dev", "test")):
        names = [match[1] for match in needed if match[2] == extra]
        lacking = [name for name in names if installed_version(name) is None]
        text = f"pip install 'vae-loc[{extra}]' adds {', '.join(lacking)}" if lacking else ", ".join(names)
        yield Check(f"extra {extra}", "absent" if lacking else "ok", text)


def _models() -> Iterator[Check]:
    """Yield every shipped model, read and proved whole."""
    from vae_loc.model.checkpoint import find_model, load_checkpoint, shipped_models

    names = shipped_models()
    if not names:
        yield Check("models", "fault", "none are shipped with this installation; install vae-loc again", 5)
    for name in names:
        try:
            model = load_checkpoint(find_model(name))
        except UnusableModel as error:
            yield Check(f"model {name}", "fault", str(error), error.exit_code)
            continue
        healthy = model.facts.healthy
        text = f"{model.facts.contrast}, SHA-256 {model.digest[:16]}, {healthy.subjects if healthy else 0} healthy"
        yield Check(f"model {name}", "ok", text)


def doctor(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Folder for outputs.")] = Path("."),
    as_json: AsJson = False,
) -> None:
    """Look at versions, devices, models and disks, and say what is wrong. Nothing is changed.

    The exit code is 0, or that of the first fault. Put its output into a report of a problem.
    Example: vae-loc doctor results
    """
    checks = list(examine(folder))
    if as_json:
        say(json.dumps([asdict(check) for check in checks], indent=1))
    else:
        say("\n".join(f"{MARKS[check.state]}  {check.topic:<20} {printable(check.text)}" for check in checks))
    if code := next((check.exit_code for check in checks if check.state == "fault"), 0):
        raise typer.Exit(code)
