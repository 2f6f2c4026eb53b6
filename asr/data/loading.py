"""Batches loaded by background threads, in order, while the network computes.

Threads and not processes: decoders release the interpreter, nothing is copied between processes,
and no worker can be left behind. The consumer counts what it has taken, so what is loaded ahead
never counts as done.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

PlanT = TypeVar("PlanT")
LoadedT = TypeVar("LoadedT")


def load_ahead(
    plans: Iterable[PlanT], load: Callable[[PlanT], LoadedT], num_workers: int
) -> Iterator[LoadedT]:
    """`load(plan)` of every plan in order, up to two per worker loaded ahead.

    Args:
        plans: what to load.
        load: called in `num_workers` threads; with 0 workers, in the caller's.
        num_workers: at least 0.
    """
    if num_workers == 0:
        yield from map(load, plans)
        return
    waiting = iter(plans)
    with ThreadPoolExecutor(num_workers, thread_name_prefix="asr-load") as pool:
        ahead: deque[Future[LoadedT]] = deque(
            pool.submit(load, plan) for plan in islice(waiting, 2 * num_workers)
        )
        try:
            while ahead:
                loaded = ahead.popleft().result()
                for plan in islice(waiting, 1):
                    ahead.append(pool.submit(load, plan))
                yield loaded
        finally:
            for future in ahead:
                future.cancel()
