"""Work done ahead in a thread of its own: the next item of an iterator while the last one is used, or one result."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future
from typing import TypeVar

Item = TypeVar("Item")


def begun(make: Callable[[], Item]) -> Callable[[], Item]:
    """Begin to make something in a thread; what is returned waits for it, and raises its error."""
    made: Future[Item] = Future()

    def work():
        try:
            made.set_result(make())
        except BaseException as error:  # handed over, not handled
            made.set_exception(error)

    threading.Thread(target=work, daemon=True, name="synth-begun").start()
    return made.result


def ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """Run an iterator in a thread, at most `depth` finished items ahead; its errors are raised here.

    Nothing is held of an item that was taken: neither here nor in the thread. Closing this generator (or dropping it)
    ends the thread, once the item it is at is made.
    """
    line: queue.Queue = queue.Queue()
    room, stop = threading.Semaphore(depth), threading.Event()
    end = object()

    def work():
        try:
            iterator = iter(items)
            while not stop.is_set():
                if room.acquire(timeout=0.2):
                    item = next(iterator, end)
                    line.put([item, None])
                    if item is end:
                        return
                    del item
        except BaseException as error:  # handed over, not handled
            line.put([end, error])

    thread = threading.Thread(target=work, daemon=True, name="synth-ahead")
    thread.start()
    try:
        while True:
            made = line.get()
            room.release()
            if (error := made.pop()) is not None:
                raise error
            if made[0] is end:
                return
            yield made.pop()
    finally:
        stop.set()
        if thread is not threading.current_thread():  # the last reference may go in the thread itself
            thread.join()
