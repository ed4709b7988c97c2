"""Attack everything that synth reads and writes, for a stated time, and print a table.

    python benchmarks/attack/run.py [--seconds 600] [--only kills,signals,...] [--on segment] [--seed 0]

Each attack gets an equal share of the time, and ends sooner where it has tried all it knows. Exit code 1 if anything
failed; what failed is printed at once, a line each, on standard error.
"""

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from importlib import import_module
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import fuzz
import interrupted
import stage

ATTACKS = {
    "kills": interrupted.kills,
    "signals": interrupted.signals,
    "full": interrupted.full,
    "links": interrupted.links,
    "two": interrupted.two_at_once,
    "records": fuzz.records,
    "headers": fuzz.headers,
    "caches": fuzz.caches,
    "archives": fuzz.archives,
}
MODULES = (
    *(f"synth.cli.{name}" for name in ("generate", "layouts", "segment", "export", "merge", "reconstruct", "replay")),
    *("synth.cli.report", "synth.runs.generate", "synth.runs.layouts", "synth.runs.segment", "synth.runs.export.run"),
    *("synth.runs.merge", "synth.show.layouts"),
)
REPORT = ("synth.report.build", "synth.report.run")  # TensorFlow comes with them
QUICK = {  # attack -> commands and tries, in seconds
    "kills": (("generate hdf5", "layouts sample"), 4),
    "signals": (("generate hdf5", "layouts sample", "export"), 3),
    "full": (("generate hdf5",), 2),
    "records": (None, 80),
    "headers": (None, 40),
}


def ready(place: Path, seed: int = 0, quick: bool = False) -> interrupted.Ground:
    """A furnished place, with all modules imported: forks find them there."""
    for name in (*MODULES, *(() if quick else REPORT)):
        import_module(name)
    stage.install(place)
    stage.furnish(place)
    for name, line in stage.FURNITURE.items():
        arguments = line.format(out=place / name).split()
        made = interrupted.run(lambda arguments=arguments: stage.main_in(place, arguments), place / "log")
        if made.code:
            raise SystemExit(f"the stage cannot be furnished: {made.said}")
    return interrupted.Ground(place, seed)


def main() -> int:
    """Run the attacks; exit code 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--only", default=",".join(ATTACKS), help="attacks, with commas")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--most", type=int, help="tries of an attack")
    parser.add_argument("--quick", action="store_true", help="a few tries of each kind, without the report: for CI")
    parser.add_argument("--on", help="the one command to be attacked")
    options = parser.parse_args()
    chosen = {"commands": [one for one in stage.COMMANDS if one.name == options.on]} if options.on else {}
    names, failed = [*QUICK] if options.quick else options.only.split(","), []
    with tempfile.TemporaryDirectory() as temporary:
        ground = ready(Path(temporary), options.seed, options.quick)
        print(f"{'attack':12}{'on':18}{'tried':>7}{'failed':>8}{'slowest s':>11}{'MiB':>7}")
        for name in names:
            rows, until = defaultdict(list), time.monotonic() + options.seconds / len(names)
            most = options.most
            if options.quick:
                on, most = QUICK[name]
                chosen = {"commands": [one for one in stage.COMMANDS if one.name in on]} if on else {"tries": most}
                chosen |= {"step": 23} if name == "kills" else {}
            for what, problem, ended in islice(ATTACKS[name](ground, **chosen), most):
                rows[what].append((bool(problem), ended))
                if problem:
                    failed.append(f"{name}, {what}: {problem}")
                    print(failed[-1], file=sys.stderr, flush=True)
                if time.monotonic() > until:
                    break
            for what, tries in rows.items():
                worst, memory = max(ended.after for _, ended in tries), max(ended.memory for _, ended in tries)
                bad = sum(wrong for wrong, _ in tries)
                print(f"{name:12}{what:18}{len(tries):7}{bad:8}{worst:11.1f}{memory:7}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
