"""Cut the network between client, scheduler and workers, and fill the workers' disk, while they share a run.

    python benchmarks/chaos_network.py [--n 40] [--cuts 3]

Client and workers reach a scheduler of their own through wires that can be cut: every connection is reset, new ones are
refused for some seconds. A worker without its scheduler ends, and is started again, as a queue's. The workers' wire
is cut several times in a run, which has to end with the bytes of one that nothing happened to. The client's is cut,
which has to end with a sentence, and to go on when it is given again. Then two workers write to a disk (tmpfs, which
takes root) that is too small: the run has to end with a sentence, and to go on once the disk was made larger. The
painter is a stub.
"""

import argparse
import os
import random
import selectors
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from chaos_workers import told
from stub_painter import StubGeneration, Trace

from synth.cluster.workers import Workers
from synth.errors import SynthError
from synth.runs.generate import GenerateConfig, generate

CONFIG = GenerateConfig(seed=1)
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


class Wire:
    """A TCP port that passes on to another, until it is cut."""

    def __init__(self, target: int):
        self._target, self._pairs, self._lock = target, [], threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.whole = True
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self, seconds: float) -> None:
        """Reset all connections, and take none for a while."""
        self.whole = False
        with self._lock:
            for end in (end for pair in self._pairs for end in pair):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
            self._pairs.clear()
        time.sleep(seconds)
        self.whole = True

    def _accept(self) -> None:
        while True:
            here, _ = self._listening.accept()
            if not self.whole:
                here.close()
                continue
            try:
                there = socket.create_connection(("127.0.0.1", self._target))
            except OSError:  # the scheduler is gone
                here.close()
                continue
            with self._lock:
                self._pairs.append((here, there))
            threading.Thread(target=pass_on, args=(here, there), daemon=True).start()


def pass_on(here: socket.socket, there: socket.socket) -> None:
    """Bytes both ways, until one end closes."""
    with here, there, selectors.DefaultSelector() as ready, suppress(OSError):
        ready.register(here, selectors.EVENT_READ, there)
        ready.register(there, selectors.EVENT_READ, here)
        while True:
            for key, _ in ready.select():
                data = key.fileobj.recv(1 << 16)
                if not data:
                    return
                key.data.sendall(data)


@contextmanager
def cluster():
    """A scheduler, and two workers with nannies; gives the client's wire and the workers'."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        dask = [sys.executable, "-m", "distributed.cli."]
        stack.callback(ended, process(dask, "dask_scheduler", "--no-dashboard", "--host", f"tcp://127.0.0.1:{port}"))
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        mine, theirs = Wire(port), Wire(port)
        for _ in range(2):
            own = ["--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1", "--local-directory", str(folder)]
            stack.enter_context(kept(dask, f"tcp://127.0.0.1:{theirs.port}", *own))
        yield mine, theirs


@contextmanager
def kept(dask: list[str], *words: str):
    """A worker that is started again when it ends, as a queue does: without its scheduler it ends."""
    over = threading.Event()

    def keep():
        while not over.is_set():
            running = process(dask, "dask_worker", *words)
            while running.poll() is None and not over.wait(0.5):
                pass
            ended(running)

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def process(dask: list[str], name: str, *words: str) -> subprocess.Popen:
    """One of Dask's commands, which find the stub."""
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
    command = [*dask[:2], dask[2] + name, *words]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, **QUIET)


def ended(running: subprocess.Popen) -> None:
    """Let a nanny end its worker."""
    running.terminate()
    with suppress(subprocess.TimeoutExpired):
        running.wait(20)
    running.kill()
    running.wait()


def run(out: Path, n: int, workers: Workers | None, cut=None, **own) -> str:
    """A run; the sentence with which it ended, empty if it went through. `cut` is called with the count of samples."""

    def watched(samples):
        for count, sample in enumerate(samples, 1):
            if cut:
                cut(count)
            yield sample

    try:
        generate(StubGeneration(config=CONFIG, trace=Trace(0.3)), n, out, workers=workers, progress=watched, **own)
    except SynthError as error:
        return str(error)
    return ""


def wires(options, work: Path) -> list[str]:
    """Cut the workers' wire again and again, then the client's; what is wrong."""
    dice, problems = random.Random(0), []
    moments = {dice.randrange(1, options.n) for _ in range(options.cuts)}
    with cluster() as (mine, theirs):
        there = Workers(scheduler=f"tcp://127.0.0.1:{mine.port}", chunk=1)

        def workers_cut(count):
            if count in moments:
                threading.Thread(target=theirs.cut, args=(3,), daemon=True).start()

        sentence = run(work / "B", options.n, there, workers_cut)
        print(f"the workers' wire cut {len(moments)} times: {sentence or 'the run went through'}")
        problems += [sentence] * bool(sentence) + told(work / "A", work / "B")
        once = [options.n // 3]

        def client_cut(count):
            if once and count >= once[0]:
                once.clear()
                threading.Thread(target=mine.cut, args=(60,), daemon=True).start()

        sentence = run(work / "C", options.n, there, client_cut)
        print(f"the client's wire cut: {sentence or 'the run went through'}")
    problems += ["the cut of the client's wire went unnoticed"] * (not sentence)
    if sentence := run(work / "C", options.n, None, resume=True):
        problems.append(sentence)
    return problems + told(work / "A", work / "C")


def full_disk(options, work: Path) -> list[str]:
    """Let the disk be too small, then large enough; what is wrong."""
    disk = work / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size for path in (work / "A").rglob("*") if path.is_file()) // 2
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk], capture_output=True)
    if mounted.returncode:
        print(f"a full disk: left out, tmpfs cannot be mounted ({mounted.stderr.decode().strip()})")
        return []
    try:
        sentence = run(disk / "D", options.n, Workers(2, retries=1))
        print(f"a full disk: {sentence or 'the run went through'}")
        problems = [] if "full" in sentence else ["a full disk was not told"]
        subprocess.run(["mount", "-o", "remount,size=1G", disk], check=True)
        sentence = run(disk / "D", options.n, Workers(2), resume=True)
        return problems + [sentence] * bool(sentence) + told(work / "A", disk / "D")
    finally:
        subprocess.run(["umount", disk], check=True)


def main() -> int:
    """Print what was done and what came of it; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--cuts", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = Path(temporary)
        run(work / "A", options.n, None)
        problems = full_disk(options, work) + wires(options, work)
    print("FAILED" if problems else "same bytes as undisturbed, nothing left over")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
