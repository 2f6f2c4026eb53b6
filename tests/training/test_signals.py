"""The first signal is remembered, the second ends the process at once."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from asr.errors import StoppedError
from asr.training.signals import SIGNALS, StopSignals


def test_without_a_signal_nothing_happens() -> None:
    with StopSignals() as signals:
        signals.raise_if_stopped()
        assert signals.received is None


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 138)]
)
def test_a_signal_is_remembered_until_it_is_asked_for(number: signal.Signals, status: int) -> None:
    with StopSignals() as signals:
        os.kill(os.getpid(), number)
        message = f"stopped by {number.name}; the same command continues from here"
        with pytest.raises(StoppedError, match=message) as stopped:
            signals.raise_if_stopped()
        with pytest.raises(StoppedError, match=message):
            signals.raise_if_stopped()
    assert stopped.value.status == status


def test_afterwards_the_signals_do_what_they_did_before() -> None:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    with StopSignals():
        assert all(signal.getsignal(number) != before[number] for number in SIGNALS)
    assert {number: signal.getsignal(number) for number in SIGNALS} == before
    with pytest.raises(KeyError, match="x"), StopSignals():
        raise KeyError("x")
    assert {number: signal.getsignal(number) for number in SIGNALS} == before


def test_outside_the_main_thread_nothing_is_caught() -> None:
    """Python allows only the main thread to handle signals: a training elsewhere must not fail."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    inside: list[object] = []

    def work() -> None:
        with StopSignals() as signals:
            inside.append({number: signal.getsignal(number) for number in SIGNALS})
            signals.raise_if_stopped()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [before]


TWICE = """
import os, signal, sys
from asr.training.signals import StopSignals
try:
    with StopSignals() as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        print(signals.received == signal.SIGTERM, flush=True)
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        print("still here", flush=True)
finally:
    print("tidied up", flush=True)
"""


@pytest.mark.parametrize(("second", "status"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_the_second_signal_ends_the_process_at_once(second: str, status: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TWICE, second], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (status, "True\n")
