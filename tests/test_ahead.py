import gc
import itertools
import threading
import time
import weakref

import pytest

from synth.ahead import ahead, begun


def test_ahead_keeps_order_and_stays_a_step_ahead():
    made = []
    line = ahead(made.append(k) or k for k in range(50))
    first = next(line)
    time.sleep(0.3)
    assert first == 0
    assert len(made) == 2  # the one taken and the next
    assert list(line) == list(range(1, 50))


def test_ahead_holds_nothing_that_was_taken():
    class Large:
        pass

    line = ahead(Large() for _ in range(3))
    kept = []
    for item in line:
        kept.append(weakref.ref(item))
        time.sleep(0.1)  # the next is made
        del item
        gc.collect()
        assert kept[-1]() is None


def test_as_many_are_made_ahead_as_are_asked_for():
    made = []
    line = ahead((made.append(k) or k for k in range(50)), depth=3)
    assert next(line) == 0
    time.sleep(0.3)
    assert len(made) == 4
    line.close()


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
