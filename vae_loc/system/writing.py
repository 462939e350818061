"""Files appear whole or not at all, those of one result together."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path

from vae_loc.errors import UnusableInput
from vae_loc.system.farewell import clean_ups
from vae_loc.system.reading import reason, sha256_of

try:
    import fcntl
except ImportError:  # Windows: no locks, so nothing is swept there
    fcntl = None  # type: ignore[assignment]

BINARY = getattr(os, "O_BINARY", 0)  # Windows writes two bytes for a line's end without it
PREFIX, SUFFIX = ".vae-loc-", ".tmp"  # of a file that is still being written
NO_FOLDER_SYNC = {errno.EINVAL, errno.EACCES, errno.EPERM, errno.EBADF, errno.ENOTSUP, errno.EISDIR}  # not offered


@dataclass(frozen=True)
class _Staged:
    """A whole file under a temporary name; a lock on it lasts as long as its writer. Windows has none."""

    path: Path
    temporary: str
    lock: int | None


@dataclass
class _Group:
    """Files that are renamed together, and the folders that were made for them."""

    files: list[_Staged] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)

    def digests(self) -> dict[Path, str]:
        """Return the SHA-256 of each file."""
        return {staged.path: sha256_of(Path(staged.temporary)) for staged in self.files}


_group: ContextVar[_Group | None] = ContextVar("group", default=None)
_in_hand: set[str] = set()  # temporary names that this process has on disk


def write_json(path: Path, content: object) -> None:
    """Write readable JSON, whole or not at all."""
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary name, fsync, rename.

    Inside `together` the rename waits for the other files of the group.

    Raises
    ------
    UnusableInput : if the folder cannot be made or written.
    """
    with together() as group:
        try:
            _make_folder(path.parent, group)
            group.files.append(_staged(path, content))
        except OSError as error:
            raise _unwritable(path, error) from error


@contextlib.contextmanager
def together() -> Iterator[_Group]:
    """Write every file of this context, or none: they are renamed when it ends without an exception.

    If a rename fails, files that replaced nothing are removed again; a file replaced before it stays new.
    """
    if (outer := _group.get()) is not None:
        yield outer
        return
    group = _Group()
    token = _group.set(group)
    try:
        yield group
        _commit(group)
        group.folders.clear()
    finally:
        _group.reset(token)
        for staged in group.files:
            _discard(staged.temporary, staged.lock)
        _remove_folders(group)


def check_place(path: Path) -> None:
    """Prove that a file can be written, and sweep the remains of killed runs from its folder; leave no trace.

    Raises
    ------
    UnusableInput : if `path` is a folder, or its folder cannot be made or written.
    """
    group = _Group()
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        _make_folder(path.parent, group)
        _sweep(path.parent)
        _discard(*_temporary(path.parent))
    except OSError as error:
        raise _unwritable(path, error) from error
    finally:
        _remove_folders(group)


def refuse_inputs(outputs: list[Path], inputs: list[Path]) -> None:
    """Refuse an output that is one of the inputs, also by another name or link.

    Raises
    ------
    UnusableInput : naming the output.
    """
    taken = {_identity(path) for path in inputs} - {None}
    for path in outputs:
        if _identity(path) in taken:
            raise UnusableInput(path, "expected an output that is no input, found one of the inputs; choose another -o")


def remove_in_hand() -> None:
    """Remove every unfinished file of this process; for a signal handler."""
    for temporary in list(_in_hand):
        with contextlib.suppress(OSError):
            os.unlink(temporary)


clean_ups.append(remove_in_hand)


def _staged(path: Path, content: bytes) -> _Staged:
    """Write `content` beside `path` under a temporary name, down to the disk."""
    temporary, handle = _temporary(path.parent)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(handle, view[: 1 << 30]) :]
        os.fsync(handle)
    except BaseException:
        _discard(temporary, handle)
        raise
    if fcntl is None:  # Windows renames no file that is open
        os.close(handle)
    return _Staged(path, temporary, None if fcntl is None else handle)


def _temporary(folder: Path) -> tuple[str, int]:
    """Create a locked temporary file: its name, and the handle that holds the lock."""
    while True:
        name = os.path.join(folder, f"{PREFIX}{secrets.token_hex(8)}{SUFFIX}")
        _in_hand.add(name)  # before it exists, so that no signal can come between
        try:
            handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | BINARY, 0o666)
        except OSError:
            _in_hand.discard(name)
            raise
        if fcntl is None:
            return name, handle
        with contextlib.suppress(OSError):  # a file system without locks: then nobody sweeps either
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.path.exists(name):
            return name, handle
        _discard(name, handle)  # swept between its making and its lock


def _commit(group: _Group) -> None:
    made: list[Path] = []
    at = Path()
    try:
        for at, temporary in ((staged.path, staged.temporary) for staged in group.files):
            new = not os.path.lexists(at)
            os.replace(temporary, at)
            made += [at] if new else []
        for folder in dict.fromkeys(staged.path.parent for staged in group.files):
            _sync_folder(folder)
    except OSError as error:
        for path in made:
            with contextlib.suppress(OSError):
                os.unlink(path)
        raise _unwritable(at, error) from error


def _sync_folder(folder: Path) -> None:
    """Make a rename lasting, where the file system offers it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise


def _discard(temporary: str, handle: int | None) -> None:
    if handle is not None:
        with contextlib.suppress(OSError):
            os.close(handle)  # first: Windows removes no file that is open
    with contextlib.suppress(OSError):  # a file that was renamed is gone from here
        os.unlink(temporary)
    _in_hand.discard(temporary)


def _sweep(folder: Path) -> None:
    """Remove temporary files whose writer is dead: those that nobody holds locked."""
    if fcntl is None:
        return
    for path in folder.glob(f"{PREFIX}*{SUFFIX}"):  # none of a folder that may be written and not read
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(path)
            finally:
                os.close(handle)


def _make_folder(folder: Path, group: _Group) -> None:
    missing = []
    while not os.path.lexists(folder):
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.mkdir(path)
            group.folders.append(path)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))


def _remove_folders(group: _Group) -> None:
    """Remove the folders made for files that did not come to be."""
    for folder in reversed(group.folders):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def _identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None if there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _unwritable(path: Path, error: OSError) -> UnusableInput:
    return UnusableInput(path, f"could not be written: {reason(error)}; choose another place with -o")
