"""What a user can do wrong is one line, with the exit code of the docs."""

import errno
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.places import ROOT

from vae_loc import errors
from vae_loc.errors import (
    MachineFault,
    OurBug,
    OutOfMemory,
    TrainingDiverged,
    UnusableInput,
    UnusableModel,
    UnusableOption,
    VaeLocError,
    WorkerDied,
    is_out_of_memory,
    machine_fault,
    printable,
)

CODES = {
    UnusableInput: 4,
    UnusableModel: 5,
    UnusableOption: 2,
    OutOfMemory: 4,
    WorkerDied: 4,
    OurBug: 1,
    TrainingDiverged: 4,
    MachineFault: 4,
}


def test_each_error_has_its_exit_code():
    found = {one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, VaeLocError)}
    assert {error: error.exit_code for error in found - {VaeLocError}} == CODES


def test_each_exit_code_is_documented():
    page = (ROOT / "docs/reference/exit-codes.md").read_text()
    documented = {int(code) for code in re.findall(r"^\| *`?(\d+)`? *\|", page, re.M)}
    assert {*CODES.values(), 0, 3, 130} <= documented


@given(st.text(), st.text())
def test_an_error_is_one_line_that_a_terminal_can_show(subject, message):
    text = str(UnusableInput(subject, message))
    assert len(text.splitlines()) <= 1
    assert text.isprintable()
    assert text.encode("utf-8")


@given(st.text(st.characters(exclude_categories=["C", "Z"])))
def test_a_name_that_is_printable_stays_as_it_is(name):
    assert printable(name) == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [(Path("a\nb"), "a\\nb"), ("red\x1b[31m", "red\\x1b[31m"), ("caf\udce9", "caf\\udce9"), ("Größe 脳", "Größe 脳")],
)
def test_what_is_not_printable_is_escaped(name, shown):
    assert printable(name) == shown


@pytest.mark.parametrize(
    ("error", "expected"),
    [(MemoryError(), True), (RuntimeError("CUDA out of memory. Tried"), True), (RuntimeError("std::bad_alloc"), True),
     (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True), (ValueError("no"), False)],
)  # fmt: skip
def test_too_little_memory_is_told_by_type_or_words(error, expected):
    assert is_out_of_memory(error) == expected


def test_a_bug_of_ours_says_where_it_was():
    def inner():
        raise KeyError("gone")

    with pytest.raises(KeyError) as raised:
        inner()
    text = str(OurBug(Path("a.nii"), raised.value))
    assert text.startswith("a.nii: a bug of ours, please report it: KeyError: 'gone'; at inner:")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "not enough"),
        (ImportError("x.so: failed to map segment from shared object"), "not enough"),
        (OSError(errno.EMFILE, "Too many open files"), "ulimit -n"),
        (OSError(errno.ENOSPC, "No space left on device", "/tmp/x"), "/tmp/x: No space left"),
        (OSError(errno.ENOENT, "No such file"), None),
        (ValueError("x"), None),
    ],
    ids=repr,
)
def test_what_the_machine_lacks_is_told_from_a_bug(error, words):
    fault = machine_fault(error)
    assert (fault is None) == (words is None)
    assert words is None or (words in str(fault) and fault.exit_code == 4)
