"""What becomes of a run on many workers, simulated from measured times: where the first wall stands.

    python benchmarks/simulate_cluster.py [--cases 1000000] [--seconds 7] [--spread 0.2] [--serial 0.012] [--start 30]

A chunk takes its samples' times (normal, never below half the mean); client and scheduler take `--serial` seconds of
one core for each case, one after the other (`benchmarks/scheduling.py` measures it); chunks are given out in order, at
most four a worker ahead of the oldest that is not done, as `synth.cluster.crew` does. A worker dies now and then, and
its chunk is begun again.
"""

import argparse
import heapq
import random

CHUNK, AHEAD = 8, 4


def hours(cases: int, workers: int, options) -> tuple[float, float]:
    """Hours that a run takes, and the share of them that the workers are busy."""
    dice = random.Random(0)
    count = -(-cases // CHUNK)
    free = [(options.start + dice.random(), k) for k in range(workers)]
    heapq.heapify(free)
    ends, clock, busy, oldest, done = [0.0] * count, 0.0, 0.0, 0, 0.0
    for chunk in range(count):
        time, worker = heapq.heappop(free)
        if chunk - oldest >= AHEAD * workers:  # wait for the one that is late
            time, oldest = max(time, ends[oldest]), oldest + 1
        clock = max(clock + options.serial * CHUNK, time)  # given out and recorded, by one process
        took = sum(max(dice.gauss(1, options.spread), 0.5) for _ in range(CHUNK)) * options.seconds
        if dice.random() < took / (3600 * options.lives):  # the worker dies in the middle: so much is lost
            took += took * dice.random() + options.start
        ends[chunk] = clock + took
        busy += took
        done = max(done, ends[chunk])
        heapq.heappush(free, (ends[chunk], worker))
    return done / 3600, busy / (done * workers)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=7.0, help="of a case on a worker")
    parser.add_argument("--spread", type=float, default=0.2, help="of these, as a share")
    parser.add_argument("--serial", type=float, default=0.012, help="seconds of client and scheduler a case")
    parser.add_argument("--start", type=float, default=30.0, help="seconds until a worker has its models")
    parser.add_argument("--lives", type=float, default=24.0, help="hours that a worker lives in the mean")
    options = parser.parse_args()
    print("workers     one run           ten shards side by side")
    for workers in (10, 100, 300, 1000, 3000):
        whole, share = hours(options.cases, workers, options)
        tenth, shares = hours(options.cases // 10, workers // 10, options)
        print(f"{workers:7} {whole:9.1f} h {share:5.0%} busy {tenth:9.1f} h {shares:5.0%} busy")


if __name__ == "__main__":
    main()
