from __future__ import annotations

import os
import signal
import threading

import pytest

from htcdaskgateway.demo.signals import ENDING, EndedBySignal, ending_signals_raise, signals_held


@pytest.mark.parametrize("number", ENDING)
def test_ending_signals_raise_what_no_error_handler_takes(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(EndedBySignal) as caught, ending_signals_raise():
        os.kill(os.getpid(), number)
    assert caught.value.number == number
    assert not isinstance(caught.value, Exception)
    assert signal.getsignal(number) is before


def test_a_held_signal_comes_after_the_block() -> None:
    done = []

    def work() -> None:
        with signals_held(deliver=True):
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("inside")
        done.append("after")

    with pytest.raises(EndedBySignal), ending_signals_raise():
        work()
    assert done == ["inside"]


def test_a_dropped_signal_never_comes() -> None:
    done = []
    with ending_signals_raise():
        with signals_held(deliver=False):
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        done.append("after")
    assert done == ["after"]


def test_other_threads_are_let_through() -> None:
    seen = []

    def work() -> None:
        with ending_signals_raise(), signals_held(deliver=True):
            seen.append(1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(5)
    assert seen == [1]
