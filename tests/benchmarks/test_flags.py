"""Flags are counted where they are known."""

from benchmarks.flags import flags_table
from vae_loc.scoring.finding_flags import Flags


def test_a_flag_counts_where_it_is_known():
    table = flags_table({"false": [Flags(True, None, False), Flags(False, True, False)], "hole": []})
    assert [row.split(" | ") for row in table.splitlines()[2:]] == [
        ["| false", "2", "1 of 2", "1 of 1", "0 of 2 |"],
        ["| hole", "0", "0 of 0", "0 of 0", "0 of 0 |"],
    ]
