"""Loaded ahead, but in order, not too far, and without leaving threads behind."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from asr.data.loading import load_ahead


def loaders() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("asr-load")]


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    assert loaders() == []


@pytest.mark.parametrize("workers", [0, 1, 2, 5])
def test_the_order_is_that_of_the_plans(workers: int) -> None:
    def load(plan: int) -> int:
        time.sleep(0.002 * (plan % 3))
        return 10 * plan

    assert list(load_ahead(range(20), load, workers)) == list(range(0, 200, 10))
    assert list(load_ahead([], load, workers)) == []
    assert list(load_ahead([7], load, workers)) == [70]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_comes_at_its_place(workers: int) -> None:
    def load(plan: int) -> int:
        if plan == 3:
            raise KeyError("plan 3")
        return plan

    loaded = load_ahead(range(9), load, workers)
    assert [next(loaded) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(KeyError, match="plan 3"):
        next(loaded)
    assert list(loaded) == []


def test_without_workers_nothing_is_loaded_ahead() -> None:
    begun: list[int] = []

    def load(plan: int) -> int:
        begun.append(plan)
        assert threading.current_thread() is threading.main_thread()
        return plan

    for loaded in load_ahead(range(4), load, 0):
        assert begun == list(range(loaded + 1))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_never_more_than_two_per_worker_are_ahead(workers: int) -> None:
    """The plans tell how far they were asked for; the loads, how many ran at once."""
    asked, running, most = [0], [0], [0]
    lock = threading.Lock()

    def plans() -> Iterator[int]:
        for plan in range(30):
            asked[0] = plan + 1
            yield plan

    def load(plan: int) -> int:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        time.sleep(0.001)
        with lock:
            running[0] -= 1
        return plan

    for taken, _ in enumerate(load_ahead(plans(), load, workers), start=1):
        assert asked[0] <= taken + 2 * workers
    assert most[0] <= workers


def test_loading_goes_on_while_the_consumer_computes() -> None:
    """The loads wait for each other: it ends only when both workers load at the same time."""
    both = threading.Barrier(2, timeout=10)

    def load(plan: int) -> int:
        both.wait()
        return plan

    assert list(load_ahead(range(8), load, 2)) == list(range(8))


def test_a_consumer_that_stops_early_leaves_no_thread_and_starts_nothing_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun: list[int] = []
    shut_down = threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            shut_down.set()
            super().shutdown(wait, cancel_futures=cancel_futures)

    def load(plan: int) -> int:
        begun.append(plan)
        if plan > 0:
            assert shut_down.wait(10)
        return plan

    monkeypatch.setattr("asr.data.loading.ThreadPoolExecutor", Pool)
    loaded = load_ahead(range(100), load, 2)
    assert next(loaded) == 0
    loaded.close()  # type: ignore[attr-defined]
    assert loaders() == []
    assert set(begun) <= {0, 1, 2}, "the two that were under way are waited for"


def test_a_consumer_that_fails_leaves_no_thread() -> None:
    def consume() -> None:
        for _ in load_ahead(range(50), lambda plan: plan, 3):
            raise KeyError("in the consumer")

    with pytest.raises(KeyError, match="in the consumer"):
        consume()
    assert loaders() == []


def test_plans_that_fail_are_the_callers_error() -> None:
    def plans() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more plans")

    with pytest.raises(RuntimeError, match="no more plans"):
        list(load_ahead(plans(), lambda plan: plan, 1))
