"""An iterator run ahead in a thread of its own: what makes the next item while the last one is used."""

import queue
import threading
from collections.abc import Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")


def ahead(items: Iterable[Item], depth: int = 1) -> Generator[Item, None, None]:
    """Run an iterator in a thread, at most `depth` finished items ahead; its errors are raised here.

    Closing this generator (or dropping it) ends the thread, once the item it is at is made.
    """
    line: queue.Queue = queue.Queue(depth)
    stop = threading.Event()
    end = object()

    def put(item) -> bool:
        while not stop.is_set():
            try:
                line.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work():
        try:
            for item in items:
                if not put((item, None)):
                    return
            put((end, None))
        except BaseException as error:  # handed over, not handled
            put((end, error))

    thread = threading.Thread(target=work, daemon=True, name="synth-ahead")
    thread.start()
    try:
        while True:
            item, error = line.get()
            if error is not None:
                raise error
            if item is end:
                return
            yield item
    finally:
        stop.set()
        if thread is not threading.current_thread():  # the last reference may go in the thread itself
            thread.join()
