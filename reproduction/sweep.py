"""Many runs, each a setting and a seed -> one table that grows row by row and survives a kill.

Results stand in `runs.csv`, in the order of the runs and not of their ends; how long each took stands in
`timing.csv`, apart, so that the same seeds give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vae_loc.errors import OutOfMemory, UnusableInput
from vae_loc.system.progress import BarMaker
from vae_loc.system.reading import read_csv, to_csv
from vae_loc.system.worker_processes import in_processes, in_turn
from vae_loc.system.writing import check_place, together, write_atomically

Key = dict[str, str]  # what makes a run: its setting and its seed, as they stand in the table
Row = dict[str, str]  # a key and its results
Perform = Callable[[Key], dict[str, float]]

RUNS, TIMING = "runs.csv", "timing.csv"
DIGITS = 6  # of a result: one more than a test set of 10 000 can tell apart


@dataclass(frozen=True)
class Machine:
    """The machine of the runs: processes of one thread each, and the device where their networks learn."""

    jobs: int = 1
    device: str = "cpu"


ALONE = Machine()


def keys_of(settings: Sequence[dict[str, object]], seeds: int) -> list[Key]:
    """Return every setting with every seed, seeds outermost: all settings are known once before any twice."""
    keys: dict[tuple[str, ...], Key] = {}
    for seed in range(seeds):
        for setting in settings:
            key = {name: str(value) for name, value in (setting | {"seed": seed}).items()}
            keys.setdefault(tuple(key.values()), key)
    return list(keys.values())


def sweep(keys: Sequence[Key], perform: Perform, folder: Path, *, jobs: int, bars: BarMaker) -> list[Row]:
    """Perform the runs that the folder's table does not hold yet; return the rows of all `keys`.

    Parameters
    ----------
    perform : key -> results; with `jobs` > 1 a module's function or its partial, in processes of one thread
    folder : where the tables grow; what other keys stand there stays

    Raises
    ------
    UnusableInput : if the folder cannot be written, or holds the table of another experiment.
    OutOfMemory : if a worker process was killed with the same run twice.
    """
    table, timing = folder / RUNS, folder / TIMING
    check_place(table)
    rows, times = known_rows(table, keys), known_rows(timing, keys)
    missing = [key for key in keys if name_of(key) not in rows]
    advance = bars("runs", len(keys))
    for _ in range(len(keys) - len(missing)):
        advance("already there")
    begun = time.monotonic()
    for done, (key, results, wall_s, cpu_s) in enumerate(_performed(missing, perform, jobs), start=1):
        rows[name_of(key)] = row_of(key, results)
        times[name_of(key)] = key | {"wall_s": f"{wall_s:.1f}", "cpu_s": f"{cpu_s:.1f}"}
        with together():
            write_atomically(table, to_csv(ordered(rows, keys)))
            write_atomically(timing, to_csv(ordered(times, keys)))
        left_min = (time.monotonic() - begun) / done * (len(missing) - done) / 60
        advance(f"{' '.join(key.values())}, {left_min:.0f} min left")
    return [rows[name_of(key)] for key in keys]


def aggregated(rows: Sequence[Row], keys: Sequence[str], scores: Sequence[str]) -> list[dict[str, str | float | int]]:
    """Return mean, lowest and highest over the seeds of each setting.

    Parameters
    ----------
    keys : columns of the setting, without the seed
    scores : columns of the results
    """
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    table: list[dict[str, str | float | int]] = []
    for setting, some in groups.items():
        entry: dict[str, str | float | int] = dict(zip(keys, setting, strict=True))
        entry["seeds"] = len(some)
        for score in scores:
            values = [float(row[score]) for row in some if row[score]]
            for name, summed in (("mean", np.mean), ("min", np.min), ("max", np.max)):
                entry[f"{score} {name}"] = round(float(summed(values)), DIGITS) if values else ""
        table.append(entry)
    return table


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a table that `sweep` wrote; none if there is no such file."""
    return read_csv(path, "a table of runs", []) if path.exists() else []


def known_rows(path: Path, keys: Sequence[Key]) -> dict[tuple[str, ...], Row]:
    """Return the rows of a table by the name of their runs, none if there is no such file.

    Raises
    ------
    UnusableInput : if it is the table of another experiment.
    """
    columns = list(keys[0])
    known = {}
    for row in read_rows(path):
        if list(row)[: len(columns)] != columns:
            names = ", ".join(list(row)[: len(columns)])
            raise UnusableInput(path, f"expected the columns {', '.join(columns)}, found {names}; choose another -o")
        known[tuple(row[column] for column in columns)] = row
    return known


def name_of(key: Key) -> tuple[str, ...]:
    """Return the key of a run in its table."""
    return tuple(key.values())


def ordered(rows: dict[tuple[str, ...], Row], keys: Sequence[Key]) -> list[Row]:
    """Return rows in the order of the keys; those of earlier, other keys in front, sorted."""
    places = {name_of(key): place for place, key in enumerate(keys)}
    return [rows[name] for name in sorted(rows, key=lambda name: (places.get(name, -1), name))]


def row_of(key: Key, results: dict[str, float]) -> Row:
    """Return a run as it stands in the table."""
    return key | {name: _written(value) for name, value in results.items()}


def _written(value: float) -> str:
    return "" if np.isnan(value) else f"{round(value, DIGITS):.10g}"


def _performed(
    keys: Sequence[Key], perform: Perform, jobs: int
) -> Iterator[tuple[Key, dict[str, float], float, float]]:
    """Yield each run as it ends, with its wall and CPU seconds."""
    timed = partial(_timed, perform)
    done = in_turn(timed, keys) if jobs == 1 else in_processes(timed, keys, jobs=jobs, preload=__name__)
    for index, result in done:
        if result is None:  # its process was killed, twice
            raise OutOfMemory
        yield keys[index], *result


def _timed(perform: Perform, key: Key) -> tuple[dict[str, float], float, float]:
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    results = perform(key)
    return results, time.perf_counter() - wall_s, time.process_time() - cpu_s
