"""Parallel work on many items; the first failure stops the rest."""

from __future__ import annotations

from concurrent.futures import FIRST_EXCEPTION, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from concurrent.futures import Future, ThreadPoolExecutor

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def do_each(
    pool: ThreadPoolExecutor,
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    stop: Callable[[], None],
    sequential: bool = False,
) -> list[_Result]:
    """Do the work for every item in parallel, and return the results in the items' order.

    Parameters
    ----------
    stop
        Called at the first failure, to end the work on the other items.
    sequential
        Take each item from the iterable only after the work on the one before it.

    Raises
    ------
    Exception
        The first failure; items that were not started are cancelled.
    """
    failures: list[BaseException] = []

    def attempt(item: _Item) -> _Result:
        try:
            return work(item)
        except BaseException as error:
            # stop here, before this thread starts another item
            failures.append(error)
            stop()
            raise

    futures: list[Future[_Result]] = []
    try:
        for item in items:
            futures.append(pool.submit(attempt, item))
            if sequential:
                futures[-1].result()
    except BaseException:
        stop()  # the iterable failed, or was stopped by another item's failure
        for future in futures:
            future.cancel()
        if failures:
            raise failures[0] from None
        raise
    _, pending = wait(futures, return_when=FIRST_EXCEPTION)
    for future in pending:
        future.cancel()
    if failures:
        raise failures[0]
    return [future.result() for future in futures]
