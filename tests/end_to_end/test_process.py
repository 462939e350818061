"""The command as a process: signals, streams, limits, other users, no network, nothing left behind."""

import fcntl
import itertools
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import pytest
from support.commands import MADE, finish, names, run, start, wait_for
from support.corpus import BRAIN, GOOD, bomb, raw_scan
from support.marks import full, some

from vae_loc.system.writing import PREFIX, SUFFIX

IS_ROOT = os.geteuid() == 0 if hasattr(os, "geteuid") else False


@pytest.mark.parametrize(
    ("number", "delay_s"),
    some(
        list(itertools.product([signal.SIGINT, signal.SIGTERM], [0.05, 0.3, 1.0, 2.0])),
        (signal.SIGTERM, 1.0),
    ),
)  # fmt: skip
def test_a_signal_ends_a_run_without_a_traceback_and_with_all_or_nothing(tmp_path, good, small_model, number, delay_s):
    process = start("score", good, "-m", small_model, "-o", tmp_path / "out")
    time.sleep(delay_s)
    process.send_signal(number)
    code, _, err = finish(process)
    made = names(tmp_path / "out")
    if code == 0:  # it had ended before
        assert made == MADE
    else:  # a signal before Python reached our first line ends it as it ends any program
        assert code == (-number if delay_s < 0.1 and code < 0 else 128 + number), err
        assert made in (set(), MADE)


def test_a_signal_during_imports_is_silent(tmp_path, good, small_model):
    process = start("score", good, "-m", small_model, "-o", tmp_path / "out")
    maps = Path(f"/proc/{process.pid}/maps")
    wait_for(lambda: "numpy" in maps.read_text())  # the first of the imports that take long
    process.send_signal(signal.SIGTERM)
    assert finish(process)[0::2] == (143, "")


def test_what_a_killed_run_left_is_swept_and_what_a_living_one_writes_is_not(tmp_path, good, small_model):
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{PREFIX}dead{SUFFIX}").write_bytes(b"half")
    with open(out / f"{PREFIX}living{SUFFIX}", "wb") as living:
        fcntl.flock(living, fcntl.LOCK_EX)
        code, _, err = finish(start("score", good, "-m", small_model, "-o", out))
        assert code == 0, err
        assert names(out) == MADE | {f"{PREFIX}living{SUFFIX}"}


@pytest.mark.parametrize("how", [full("closed"), "broken pipe"])
def test_nobody_listening_is_no_fault(tmp_path, good, small_model, how):
    read_end, write_end = os.pipe()
    os.close(read_end)
    line = f"{sys.executable} -m vae_loc score {good} -m {small_model} -o {tmp_path / 'out'}"
    shell = ["/bin/sh", "-c", line + (" >&- 2>&-" if how == "closed" else "")]
    code = subprocess.run(shell, stdout=write_end, timeout=120).returncode
    os.close(write_end)
    assert code == 0
    assert names(tmp_path / "out") == MADE
    assert nib.load(tmp_path / "out/scan_t1_desc-combi_anomaly.nii.gz").get_fdata().any()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux only")
def test_a_full_stdout_is_one_line_and_the_files_are_whole(tmp_path, good, small_model):
    with open("/dev/full", "w") as full:
        code, _, err = finish(start("score", good, "-m", small_model, "-o", tmp_path / "out", stdout=full))
    assert code == 4
    assert err.count("\n") == 1
    assert err.startswith("vae-loc: stdout: could not be written: No space left")
    assert names(tmp_path / "out") == MADE


@pytest.mark.full
def test_a_full_disk_leaves_nothing_behind_and_an_old_output_alone(tmp_path, good, small_model):
    def quota():
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))  # the map fits, the picture does not

    out = tmp_path / "new"
    code, _, err = finish(start("score", good, "-m", small_model, "-o", out, preexec_fn=quota))
    assert code == 4
    assert err.count("\n") == 1
    assert "could not be written: File too large" in err
    assert not out.exists()
    out.mkdir()
    for name in MADE:
        (out / name).write_text("old")
    assert finish(start("score", good, "-m", small_model, "-o", out, preexec_fn=quota))[0] == 4
    assert {path.read_text() for path in out.iterdir()} == {"old"}


MEASURED = """
from vae_loc.__main__ import main
try:
    main()
finally:
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("huge_t1.nii", raw_scan(version=2, dim=[3, 1 << 16, 1 << 16, 1 << 14])),
        ("bomb_t1.nii.gz", bomb()),
    ],
)
def test_a_claim_of_terabytes_costs_neither_time_nor_memory(tmp_path, small_model, name, content):
    (tmp_path / name).write_bytes(content)
    arguments = ["score", tmp_path / name, "-m", small_model, "-o", tmp_path / "out"]
    began = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", MEASURED, *map(str, arguments)], capture_output=True, text=True)
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 4, done.stderr
    assert done.stderr.count("\n") == 1
    assert int(done.stdout) < 300_000  # kB
    assert ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime < 2


@pytest.mark.full
def test_too_little_memory_is_one_line_with_what_to_lower(tmp_path, small_model, healthy_folder):
    def little():
        resource.setrlimit(resource.RLIMIT_AS, (2_500_000_000, 2_500_000_000))

    options = ["--batch-size", "1000000", "--latents", "4096", "--image-size", "512", "--quiet"]
    process = start("train", healthy_folder, "-o", tmp_path / "m.safetensors", *options, preexec_fn=little)
    code, _, err = finish(process, 300)
    assert code == 4, err
    assert "--batch-size" in err
    assert not (tmp_path / "m.safetensors").exists()


@pytest.mark.parametrize("megabytes", [full(300), 400, full(500)])
def test_a_machine_of_little_memory_is_one_line(tmp_path, good, small_model, megabytes):
    limit = megabytes * 1_000_000
    options = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))}
    code, _, err = finish(start("score", good, "-m", small_model, "-o", tmp_path / "out", **options))
    assert (code, err.count("\n")) == (4, 1), err
    assert "memory: not enough" in err
    assert not names(tmp_path / "out")


@pytest.mark.parametrize(("files", "jobs"), [full(10, 2), (24, 2), full(24, 1)])
def test_few_file_handles_are_one_line_or_enough(tmp_path, good, small_model, files, jobs):
    (tmp_path / "two_t1.nii").write_bytes(good.read_bytes())
    options = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))}
    arguments = ["score", good, tmp_path / "two_t1.nii", "-m", small_model, "-o", tmp_path / "out", "--jobs", jobs]
    code, _, err = finish(start(*arguments, **options))
    assert code == (0 if jobs == 1 else 4), err
    assert jobs == 1 or ("open files" in err and err.count("\n") == 1)


@pytest.mark.full
def test_a_full_log_is_one_line_and_what_was_scored_is_whole(tmp_path, good, small_model):
    arguments = ["score", good, "-m", small_model, "-o", tmp_path / "out", "--log-json", "/dev/full"]
    code, _, err = finish(start(*arguments))
    assert code == 4
    assert err == "vae-loc: /dev/full: could not be written: No space left on device; what was scored is whole\n"


@pytest.mark.full
def test_an_output_folder_of_any_bytes_takes_a_page(tmp_path, good, small_model):
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    code, _, err = finish(start("score", good, "-m", small_model, "-o", folder, "--report"))
    assert code == 0, err
    assert names(folder) == {*MADE, "scan_t1_report.html"}


HOSTILE = """
import sys
def watch(event, arguments):
    if event.startswith("socket.") and event != "socket.__new__" or event in ("urllib.Request", "http.client.connect"):
        raise SystemExit(f"network: {event}")
sys.addaudithook(watch)
sys.argv[0] = "vae-loc"
from vae_loc.__main__ import main
main()
"""


def test_nothing_touches_the_network(tmp_path, good, small_model):
    arguments = ["score", str(good), "-m", str(small_model), "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", HOSTILE, *arguments], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "network" not in done.stderr


@pytest.mark.parametrize("home", [None, full("/dev/null"), full("/proc")])
def test_it_runs_without_a_home(tmp_path, good, small_model, home):
    unset = ("HOME", "MPLCONFIGDIR", "XDG_CACHE_HOME", "ORT_DISABLE_TELEMETRY")
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    environment |= {} if home is None else {"HOME": home}
    environment["TMPDIR"] = str(tmp_path / "tmp")
    (tmp_path / "tmp").mkdir()
    code, _, err = finish(start("score", good, "-m", small_model, "-o", tmp_path / "out", env=environment))
    assert code == 0, err
    assert err == ""
    assert names(tmp_path / "out") == MADE
    assert not names(tmp_path / "tmp")


@pytest.fixture
def open_place():
    """A folder that every user may enter and write, unlike pytest's own."""
    with tempfile.TemporaryDirectory(dir="/tmp") as place:
        os.chmod(place, 0o777)
        yield Path(place)


def become_nobody():
    os.setgroups([])
    os.setgid(54321)
    os.setuid(54321)


@pytest.mark.full
@pytest.mark.skipif(not IS_ROOT, reason="needs root to become another user")
def test_it_runs_as_a_user_that_nobody_knows(open_place, small_model):
    try:
        subprocess.run([sys.executable, "-c", "import torch"], preexec_fn=become_nobody, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this Python lies where other users may not read")
    shutil.copy(small_model, open_place / "m.safetensors")
    (open_place / "scan_t1.nii").write_bytes(GOOD)
    arguments = ["score", open_place / "scan_t1.nii", "-m", open_place / "m.safetensors", "-o", open_place / "out"]
    code, _, err = finish(start(*arguments, preexec_fn=become_nobody, env={"LANG": "C"}))
    assert code == 0, err


@pytest.mark.skipif(not IS_ROOT, reason="needs root to become another user")
def test_what_a_user_may_not_read_or_write_is_named(open_place, small_model, monkeypatch, capsys):
    shutil.copy(small_model, open_place / "m.safetensors")
    (open_place / "scan_t1.nii").write_bytes(GOOD)
    shutil.copy(open_place / "scan_t1.nii", open_place / "secret_t1.nii")
    (open_place / "locked").mkdir(mode=0o700)
    shutil.copy(small_model, open_place / "locked.safetensors")
    for name in ("secret_t1.nii", "locked.safetensors"):
        os.chmod(open_place / name, 0o600)
    scan, model, out = open_place / "scan_t1.nii", open_place / "m.safetensors", open_place / "out"
    assert run(monkeypatch, capsys, "score", scan, "-m", model, "-o", open_place / "loaded")[0] == 0
    os.setegid(54321)
    os.seteuid(54321)
    try:
        for arguments, expected, words in (
            ([open_place / "secret_t1.nii", "-m", model, "-o", out], 4, "secret_t1.nii: could not be read: Permission"),
            ([open_place / "locked" / "scan_t1.nii", "-m", model, "-o", out], 4, "could not be read: Permission"),
            ([open_place / "locked", "-m", model, "-o", out], 4, "could not be listed: Permission"),
            ([scan, "-m", model, "-o", open_place / "locked"], 4, "could not be written: Permission"),
            ([scan, "-m", model, "-o", open_place / "locked" / "deep"], 4, "could not be written: Permission"),
            ([scan, "-m", open_place / "locked.safetensors", "-o", out], 5, "could not be read: Permission"),
        ):
            code, said = run(monkeypatch, capsys, "score", *arguments)
            assert (code, said.err.count("\n")) == (expected, 1), said.err
            assert words in said.err
    finally:
        os.seteuid(0)
        os.setegid(0)
    assert not out.exists()


@pytest.mark.full
def test_two_runs_with_the_same_output_leave_whole_files(tmp_path, good, small_model):
    arguments = ["score", good, "-m", small_model, "-o", tmp_path / "out"]
    processes = [start(*arguments) for _ in range(2)]
    assert [finish(process)[0] for process in processes] == [0, 0]
    assert names(tmp_path / "out") == MADE
    assert nib.load(tmp_path / "out/scan_t1_desc-combi_anomaly.nii.gz").shape == BRAIN.shape
