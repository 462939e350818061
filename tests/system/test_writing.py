"""Files appear whole or not at all."""

import os
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
