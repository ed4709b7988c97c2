"""`synth generate` on a cluster's queue: workers are its jobs, and come and go with what is left to do.

    pip install '.[dask]' dask-jobqueue
    python examples/slurm/generate.py --jobs 50 --cores 4 --memory 16GB --queue normal -- --n 100000 --out set

What follows the `--` goes to `synth generate`, which runs here, on a login node or in a job of its own, and needs no
network but Dask's. Folders must be the same on all nodes. A job that ends in the middle of a case costs that case's
time. `--system local` has the same jobs as processes of this machine, to try the line.
"""

import argparse
import os
import subprocess
import sys

import dask_jobqueue
from dask_jobqueue.local import LocalCluster

SYSTEMS = {
    "slurm": dask_jobqueue.SLURMCluster,
    "pbs": dask_jobqueue.PBSCluster,
    "sge": dask_jobqueue.SGECluster,
    "lsf": dask_jobqueue.LSFCluster,
    "local": LocalCluster,
}
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": "67108864", "MALLOC_MMAP_THRESHOLD_": "33554432"}  # docs/scale.md


def main() -> None:
    """Start the jobs, run the command with them, end them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", choices=SYSTEMS, default="slurm")
    parser.add_argument("--jobs", type=int, default=10, help="most jobs at a time, a worker each")
    parser.add_argument("--cores", type=int, default=4, help="of a job")
    parser.add_argument("--memory", default="16GB", help="of a job; a worker needs 4 GiB")
    parser.add_argument("--walltime", default="04:00:00")
    parser.add_argument("--queue", help="partition or queue")
    parser.add_argument("generate", nargs="+", help="options of `synth generate`, after --")
    options = parser.parse_args()

    # one sample at a time in each job, which computes with all of its cores: `--threads` says so to synth
    own = {"cores": 1, "processes": 1, "memory": options.memory}
    if options.system == "local":
        os.environ.update(KEEP_MEMORY)  # its jobs are no scripts: they have this process's environment
    else:
        exports = [f"export {name}={value}" for name, value in KEEP_MEMORY.items()]
        own.update(walltime=options.walltime, queue=options.queue, job_script_prologue=exports)
    if options.system == "slurm":
        own["job_cpu"] = options.cores  # what is asked of Slurm
    with SYSTEMS[options.system](**own) as cluster:
        cluster.adapt(minimum_jobs=1, maximum_jobs=options.jobs)
        crew = ["--scheduler", cluster.scheduler_address, "--threads", str(options.cores)]
        sys.exit(subprocess.call([sys.executable, "-m", "synth", "generate", *options.generate, *crew]))


if __name__ == "__main__":
    main()
