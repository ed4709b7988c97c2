import itertools
import threading
import time

import pytest

from synth.ahead import ahead, begun


def test_ahead_keeps_order_and_stays_a_step_ahead():
    made = []
    line = ahead(made.append(k) or k for k in range(50))
    first = next(line)
    time.sleep(0.3)
    assert first == 0
    assert len(made) <= 4  # the one taken, one in the queue, one waiting for room
    assert list(line) == list(range(1, 50))


def test_ahead_passes_errors_on_after_what_came_before():
    def items():
        yield 1
        raise KeyError("broken")

    line = ahead(ahead(items()))
    assert next(line) == 1
    with pytest.raises(KeyError, match="broken"):
        next(line)


def test_ahead_stops_its_threads_when_the_consumer_stops():
    before = set(threading.enumerate())
    line = ahead(ahead(itertools.count()))
    assert [next(line), next(line)] == [0, 1]
    assert set(threading.enumerate()) - before
    line.close()
    deadline = time.monotonic() + 5
    while set(threading.enumerate()) - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not set(threading.enumerate()) - before


def test_what_was_begun_is_given_or_its_error_raised():
    def fail():
        raise ValueError("spoilt")

    assert begun(lambda: threading.current_thread().name)() == "synth-begun"
    with pytest.raises(ValueError, match="spoilt"):
        begun(fail)()
