"""Cases of parametrised tests that only `pytest --full` runs."""

from __future__ import annotations

import pytest


def full(*values):
    return pytest.param(*values, marks=pytest.mark.full)


def some(cases, *quick):
    """Return the cases, of which all but the quick ones are left to `--full`."""
    return [case if case in quick else full(*(case if isinstance(case, tuple) else (case,))) for case in cases]
