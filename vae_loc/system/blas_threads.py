"""Matrix products on one thread: several threads add in another order, so bytes would depend on the machine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to one thread inside a block or a decorated function, then give back the number that it had.

    An environment variable counts only before numpy is imported, which a Python session or a dask worker may have done.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield
