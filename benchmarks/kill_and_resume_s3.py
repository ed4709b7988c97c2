"""Kill a run whose output goes to S3 (moto's server on this machine) at random moments, resume it, compare all objects.

    python benchmarks/kill_and_resume_s3.py [--n 40] [--kills 10] [--workers 2] [--format nifti|nnunet|msd|bids]

The painter is a stub (`stub_painter.py`), the pieces of the manifest hold three records; all else is the real run. At
each kill (SIGKILL of the command and all its workers) every object that the pieces vouch for has to be there with its
checksum. At the end the objects have to be the files of a run on a disk that nothing happened to, and no scratch folder
may be left.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from hashlib import sha256
from pathlib import Path

from kill_and_resume import differences, files_of
from stub_painter import StubGeneration, Trace

from synth.cluster.workers import Workers
from synth.disk.manifest import MANIFEST
from synth.disk.objects import Objects
from synth.runs import stored
from synth.runs.generate import GenerateConfig, generate
from synth.runs.stored import PIECES

ADDRESS = "s3://bucket/runs/A"  # the name of the folder that it is compared with: tables tell it


def main() -> int:
    """Print a line per kill and the verdict; exit code 1 if any check fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=0, help="0: none, the command makes the samples")
    parser.add_argument("--format", choices=("nifti", "nnunet", "msd", "bids"), default="nifti")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)  # the process that is killed
    options = parser.parse_args()
    if options.run:
        stored._MOST = 3
        one(options, ADDRESS, Trace(0.1), resume=True)
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        return compared(options, Path(temporary))


def one(options, out, trace: Trace, *, resume: bool) -> None:
    """The run."""
    generation = StubGeneration(config=GenerateConfig(seed=1, format=options.format), trace=trace)
    workers = Workers(options.workers, chunk=2) if options.workers and resume else None
    generate(generation, options.n, out, resume=resume, workers=workers)


def compared(options, work: Path) -> int:
    """Both runs; the exit code."""
    one(options, work / "A", Trace(), resume=False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = subprocess.Popen([sys.executable, "-m", "moto.server", "-p", str(port)], **quiet)
    (work / "scratch").mkdir()
    own = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        "TMPDIR": str(work / "scratch"),
    }
    os.environ.update(own)
    try:
        answer(own["AWS_ENDPOINT_URL"])
        Objects(ADDRESS)._files.mkdir("bucket")
        problems = killed_and_resumed(options, work)
    finally:
        server.kill()
        server.wait()
    print("FAILED" if problems else "same bytes as on a disk, nothing left over", *problems, sep="\n  ")
    return 1 if problems else 0


def answer(url: str) -> None:
    """Wait until a server does."""
    for _ in range(600):
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise SystemExit("moto's server does not answer")


def killed_and_resumed(options, work: Path) -> list[str]:
    """Kill and resume, then compare; what is wrong."""
    dice, problems = random.Random(options.seed), []
    command = [sys.executable, __file__, "--run", *(f"--{key}={getattr(options, key)}" for key in ("n", "format"))]
    command.append(f"--workers={options.workers}")
    kills = 0
    while kills < options.kills:
        before = recorded()
        due = before + dice.randrange(max((options.n - before) // (options.kills - kills), 1))
        process = subprocess.Popen(command, start_new_session=True)
        while recorded() < due and process.poll() is None:
            time.sleep(0.05)
        time.sleep(dice.uniform(0, 1))
        if process.poll() is not None:
            break
        os.killpg(process.pid, signal.SIGKILL)  # its workers too, which have its session
        process.wait()
        kills += 1
        found = [name for name, digest in vouched().items() if sha256(read(name)).hexdigest() != digest]
        problems += [f"{name}: is not what a piece of the manifest vouches for" for name in found]
        print(f"kill {kills}: {len(vouched())} objects vouched for", flush=True)
    subprocess.run(command, check=True)
    Objects(ADDRESS).get(Objects(ADDRESS).sizes(), work / "fetched")
    different = differences(work / "A", work / "fetched")
    left = [path.name for path in (work / "scratch").glob("*synth*")]
    print(f"{kills} kills; {len(files_of(work / 'A'))} objects compared, {len(different)} differ; scratch left: {left}")
    return problems + different + left


def lines() -> list[dict]:
    """The records in the pieces of the manifest."""
    store = Objects(ADDRESS)
    pieces = [name for name in store.sizes() if name.startswith(PIECES) or name == MANIFEST]
    return [json.loads(line) for piece in store.read(pieces) for line in piece.splitlines()]


def recorded() -> int:
    """How many samples they tell of."""
    return len({record["index"] for record in lines()})


def vouched() -> dict[str, str]:
    """Checksums by name, of all objects that they tell of."""
    return {name: digest for record in lines() for name, digest in record["files"].items()}


def read(name: str) -> bytes:
    """An object; nothing where there is none."""
    store = Objects(ADDRESS)
    return store.read([name])[0] if store.has(name) else b""


if __name__ == "__main__":
    sys.exit(main())
