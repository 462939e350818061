"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
import threading

import pytest
from support.commands import names

from vae_loc.errors import UnusableInput
from vae_loc.system import writing
from vae_loc.system.writing import check_place, refuse_inputs, together, write_atomically


def test_two_writers_of_one_file_leave_one_whole_file(tmp_path):
    contents = [bytes([n]) * 300_000 for n in range(4)]

    def write(content):
        for _ in range(30):
            write_atomically(tmp_path / "same", content)

    threads = [threading.Thread(target=write, args=(content,)) for content in contents]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        if (tmp_path / "same").exists():
            assert (tmp_path / "same").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["same"]


def test_files_written_together_are_all_there_or_none(tmp_path):
    (tmp_path / "old").write_text("old")

    def write(divisor):
        with together():
            write_atomically(tmp_path / "new" / "a", b"a")
            write_atomically(tmp_path / "old", b"changed")
            assert (tmp_path / "old").read_text() == "old"
            assert 1 / divisor

    with pytest.raises(ZeroDivisionError):
        write(0)
    assert names(tmp_path) == {"old"}
    assert (tmp_path / "old").read_text() == "old"
    write(1)
    assert names(tmp_path) == {"old", "new"}
    assert names(tmp_path / "new") == {"a"}
    assert (tmp_path / "old").read_text() == "changed"


def test_a_place_is_tried_without_a_trace(tmp_path):
    check_place(tmp_path / "new" / "deep" / "a.nii")
    assert names(tmp_path) == set()
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "a.nii", tmp_path):
        with pytest.raises(UnusableInput, match="could not be written"):
            check_place(place)
    assert names(tmp_path) == {"file"}


@pytest.mark.parametrize("link", ["itself", "hard link", "symlink"])
def test_an_output_that_is_an_input_is_refused_by_whatever_name(tmp_path, link):
    scan, output = tmp_path / "scan.nii", tmp_path / "out.nii"
    scan.touch()
    if link == "hard link":
        output.hardlink_to(scan)
    elif link == "symlink":
        output.symlink_to(scan)
    with pytest.raises(UnusableInput, match="one of the inputs"):
        refuse_inputs([tmp_path / "other", scan if link == "itself" else output], [scan])
    refuse_inputs([tmp_path / "other"], [scan, tmp_path / "gone"])


def test_without_locks_a_file_is_closed_before_it_is_renamed(tmp_path, monkeypatch):
    """Windows has no fcntl, and renames and removes no file that is open."""
    renamed, real = [], os.replace

    def replace(temporary, path):
        numbers = [number for number in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{number}")]
        assert str(temporary) not in {os.readlink(f"/proc/self/fd/{number}") for number in numbers}
        renamed.append(path)
        real(temporary, path)

    monkeypatch.setattr(writing, "fcntl", None)
    monkeypatch.setattr(os, "replace", replace)
    check_place(tmp_path / "a")
    with together():
        write_atomically(tmp_path / "a", b"one\ntwo")
        write_atomically(tmp_path / "b", b"three")
    assert renamed == [tmp_path / "a", tmp_path / "b"]
    assert (tmp_path / "a").read_bytes() == b"one\ntwo"
    assert names(tmp_path) == {"a", "b"}


@pytest.fixture
def calls(monkeypatch):
    """The order of what is synced to the disk and renamed, by the names of files, or `.` for a folder."""
    seen = []

    def recorded(name, number_of):
        real = getattr(os, name)

        def call(first, *rest):
            seen.append((name, number_of(first, *rest)))
            return real(first, *rest)

        monkeypatch.setattr(os, name, call)

    def opened(handle):
        place = os.readlink(f"/proc/self/fd/{handle}")
        return "." if os.path.isdir(place) else "file"

    recorded("fsync", opened)
    recorded("replace", lambda temporary, path: os.path.basename(path))
    return seen


def test_content_is_on_the_disk_before_its_name_and_the_name_before_the_end(tmp_path, calls):
    with together():
        write_atomically(tmp_path / "a", b"a")
        write_atomically(tmp_path / "b", b"b")
    assert calls == [("fsync", "file"), ("fsync", "file"), ("replace", "a"), ("replace", "b"), ("fsync", ".")]


def test_a_rename_that_fails_takes_back_the_new_files_of_its_group(tmp_path, monkeypatch):
    real = os.replace
    (tmp_path / "old").write_bytes(b"old")

    def replace(temporary, path):
        if path.name == "last":
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(temporary, path)

    monkeypatch.setattr(os, "replace", replace)

    def write():
        with together():
            for name in ("new", "old", "last"):
                write_atomically(tmp_path / name, b"changed")

    with pytest.raises(UnusableInput, match=r"last: could not be written: Input/output error"):
        write()
    assert names(tmp_path) == {"old"}


def test_a_folder_that_cannot_be_synced_is_a_fault_unless_the_file_system_has_no_such_thing(tmp_path, monkeypatch):
    real = os.fsync

    def failing(number):
        def fsync(handle):
            if os.path.isdir(os.readlink(f"/proc/self/fd/{handle}")):
                raise OSError(number, os.strerror(number))
            real(handle)

        monkeypatch.setattr(os, "fsync", fsync)

    failing(errno.EINVAL)
    write_atomically(tmp_path / "a", b"a")
    failing(errno.EIO)
    with pytest.raises(UnusableInput, match="Input/output error"):
        write_atomically(tmp_path / "b", b"b")
    assert names(tmp_path) == {"a"}


LEAVE = """
import os, sys
from vae_loc.system import writing
writing._staged(writing.Path(sys.argv[1]), b"half")
if sys.argv[2] == "killed":
    os.kill(os.getpid(), 9)
print("alive", flush=True)
sys.stdin.read()
"""


def test_files_of_a_killed_writer_are_swept_and_those_of_a_living_one_are_not(tmp_path):
    subprocess.run([sys.executable, "-c", LEAVE, tmp_path / "a", "killed"], check=False)
    (dead,) = names(tmp_path)
    alive = [sys.executable, "-c", LEAVE, tmp_path / "b", "alive"]
    with subprocess.Popen(alive, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (tmp_path / ".vae-loc-notes.txt").touch()
        check_place(tmp_path / "c")
        left = names(tmp_path)
        assert dead not in left
        assert len(left) == 2
        assert ".vae-loc-notes.txt" in left
        process.stdin.close()
    assert process.returncode == 0


def test_a_signal_removes_what_is_half_written(tmp_path):
    write = f"""
import os, signal
import vae_loc.__main__ as command
from vae_loc.system import writing
signal.signal(signal.SIGTERM, command._leave)
writing._staged(writing.Path({str(tmp_path / "a")!r}), b"half")
os.kill(os.getpid(), signal.SIGTERM)
"""
    assert subprocess.run([sys.executable, "-c", write], check=False).returncode == 128 + 15
    assert names(tmp_path) == set()
