"""Options that several commands read alike, and what they stand for."""

import os
from functools import partial, wraps

import click


class LabelTable(click.ParamType):
    """The name of a table of label values."""

    name = "table"

    def get_metavar(self, param, ctx=None) -> str:
        """What `--help` shows."""
        return "[auto|brats|msd|ped|...]"

    def convert(self, value, param, ctx):
        """The name itself, if it is one."""
        from synth.brats import LABEL_TABLES
        from synth.datasets.reading import AUTO, BRATS

        if value not in (known := (AUTO, BRATS, *LABEL_TABLES)):
            self.fail(f"{value!r} is not one of {', '.join(map(repr, known))}.", param, ctx)
        return value


class FormatName(click.ParamType):
    """The name of an output format, of another package's too; which there are is looked up when one is given."""

    name = "format"

    def get_metavar(self, param, ctx=None) -> str:
        """What `--help` shows without importing the formats."""
        return "[nifti|hdf5|nnunet|msd|bids]"

    def convert(self, value, param, ctx):
        """The name itself, if it is one."""
        import synth.runs.export.formats  # noqa: F401 (which makes its own known)
        from synth.exporters import EXPORTERS

        if value not in EXPORTERS:
            self.fail(f"{value!r} is not one of {', '.join(map(repr, EXPORTERS))}.", param, ctx)
        return value


style_option = click.option(
    "--style",
    type=click.Choice(["mixed", "own", "sampled"]),
    help="Of your scans mixed, each host's own, or of none. [default: mixed with --data]",
)


def reading_options(command=None, *, healthy: bool = True):
    """`--labels`, `--resample` and `--healthy` for a command that reads cases; it gets them as one `Reading`."""
    if command is None:
        return partial(reading_options, healthy=healthy)

    @wraps(command)
    def with_reading(*args, labels, resample, healthy=False, **options):
        from synth.datasets.reading import Reading

        return command(*args, reading=Reading(labels, resample, healthy), **options)

    options = [
        click.option(
            "--resample", is_flag=True, help="Take skull-stripped, aligned scans of any size, spacing and orientation."
        ),
        click.option(
            "--labels",
            type=LabelTable(),
            default="auto",
            help="What the label values mean, if the file names do not say it. [default: by the names]",
        ),
    ]
    if healthy:
        options.insert(0, click.option("--healthy", is_flag=True, help="Cases without a segmentation are healthy."))
    for option in options:
        with_reading = option(with_reading)
    return with_reading


def workers_options(command):
    """`--workers`, `--scheduler` and what goes with them; the command gets them as `Workers`, or None."""

    @wraps(command)
    def with_workers(*args, workers, scheduler, threads, memory, performance_report, **options):
        from pathlib import Path

        from synth.cluster.workers import Workers
        from synth.errors import SynthError

        crew = None
        if workers is not None or scheduler is not None:
            report = None if performance_report is None else Path(performance_report)
            crew = Workers(workers, scheduler, threads, memory, report=report)
        elif threads is not None or memory is not None or performance_report is not None:
            raise SynthError("--threads, --memory and --performance-report need --workers or --scheduler.")
        return command(*args, workers=crew, **options)

    for option in (
        click.option("--performance-report", type=click.Path(), help="HTML file for Dask's report on the workers."),
        click.option("--memory", help="Of each worker, such as 8GB. [default: the machine's, shared out]"),
        click.option("--threads", type=click.IntRange(min=1), help="Cores of each worker. [default: shared out]"),
        click.option("--scheduler", help="Address or file of a running Dask scheduler, whose workers do the work."),
        click.option("--workers", type=click.IntRange(min=1), help="Processes on this machine that share the work."),
    ):
        with_workers = option(with_workers)
    return with_workers


def absolute(path: str | None) -> str | None:
    """A path as processes in other folders find it too; what is no path, such as a shipped model's name, stays."""
    from pathlib import Path

    return str(Path(path).resolve()) if path is not None and Path(path).exists() else path


def warn(line: str) -> None:
    """Say what is no error but must be known."""
    click.echo(f"warning: {line}", err=True)


def opened_as_real(path, reading):
    """As `opened`, for cases that stand for patients' scans: says so where synth painted some."""
    cases = opened(path, reading)
    if cases is not None and (note := cases.synthetic_note()):
        warn(note)
    return cases


def opened(path, reading, scans=True):
    """The set at a path, read as the options say; problems of the set are for the command to tell. None for None."""
    from synth.datasets.sets import open_set

    return None if path is None else open_set(path, scans=scans, strict=False, reading=reading)


def shard(ctx, param, value: str) -> tuple[int, int]:
    """`i/m` as two numbers; a click callback."""
    try:
        i, m = (int(part) for part in value.split("/"))
    except ValueError:
        raise click.BadParameter(f"expected i/m such as 0/8, found {value!r}.") from None
    if not 0 <= i < m:
        raise click.BadParameter(f"expected i/m with 0 <= i < m, found {value!r}.")
    return i, m


def given(**values) -> dict:
    """The options that were said; the library's defaults stand for the others."""
    return {key: value for key, value in values.items() if value is not None}


def layouts_beside(out: str) -> str:
    """Where layouts of DATA are kept: beside OUT; where that is an address, here: they are your patients'."""
    from synth.disk.objects import address_of

    address = address_of(out)
    return f"{os.path.normpath(out) if address is None else address.rpartition('/')[2]}-layouts"


def seen_by_workers(data: str | None, layouts: str | None, out: str) -> tuple[str | None, str]:
    """DATA, and where its layouts are kept, by names that mean the same wherever a worker runs."""
    return absolute(data), os.path.abspath(layouts or layouts_beside(out))


def chosen_sources(data: str | None, layouts: str | None, out: str, quiet: bool, reading=None, *, detail=False):
    """The `Sources` that --data and --layouts name, the embedded ones without --data; says which cases are left out."""
    from pathlib import Path

    from synth.cli.progress import bar
    from synth.hosts.sources import data_sources, embedded_sources

    if data is None:
        return embedded_sources()
    kept = Path(layouts or layouts_beside(out))
    progress = bar("extracting layouts", "case", quiet)
    sources, problems = data_sources(opened(data, reading, scans=False), kept, progress, warn, detail=detail)
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    return sources
