"""Where the CPU-seconds of `synth report` go: reading, tissue, facts and each probe, a case.

    python benchmarks/report_stages.py FOLDER [FOLDER ...] [--most 4] [--one]

Each folder holds cases with labels. CPU-seconds of all threads of the process, the median and the greatest of the cases
(the first, which loads atlas and network, is left out); the last column says what a first case took.
"""

import argparse
import sys
import time
from collections import defaultdict
from statistics import median

from synth.datasets.sets import open_set
from synth.models.runtime import repeatable
from synth.quality.prepared import prepare
from synth.report.build import probes_of
from synth.report.core.facts import case_facts, law_facts


def main() -> None:
    """Print a row a stage and the sum."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+")
    parser.add_argument("--most", type=int, default=4, help="cases of each folder")
    parser.add_argument("--no-network", action="store_true")
    options = parser.parse_args()
    repeatable()
    took = defaultdict(list)

    def timed(stage, function, *arguments):
        begin = time.process_time()
        result = function(*arguments)
        took[stage].append(time.process_time() - begin)
        return result

    probes = [p for p in probes_of("default") if not (options.no_network and p.name in ("dice", "embedding"))]
    for folder in options.folders:
        for member in open_set(folder, scans=True, strict=False).members[: options.most]:
            timed("checksums", member.checksums)
            case, _ = timed("reading", member.examine)
            prepared = timed("tissue", prepare, case)
            timed("facts", case_facts, case)
            timed("law", law_facts, prepared.layout)
            for probe in probes:
                if probe.name == "embedding":  # Dice, of at most 32 cases of a set, has taken its pass
                    prepared = type(prepared)(prepared.case, prepared.layout, prepared.box)
                timed(probe.name, probe.measure, prepared)
    print(f"{'stage':12}{'median':>8}{'most':>8}{'first':>8}")
    for stage, (first, *others) in took.items():
        print(f"{stage:12}{median(others):8.2f}{max(others):8.2f}{first:8.2f}")
    sums = [sum(row) for row in zip(*took.values(), strict=True)][1:]
    print(f"{'all':12}{median(sums):8.2f}{max(sums):8.2f}")


if __name__ == "__main__":
    sys.exit(main())
