"""Options that several commands read alike, and what they stand for."""

import click


class FormatName(click.ParamType):
    """The name of an output format, of another package's too; which there are is looked up when one is given."""

    name = "format"

    def get_metavar(self, param, ctx=None) -> str:
        """What `--help` shows without importing the formats."""
        return "[nifti|hdf5]"

    def convert(self, value, param, ctx):
        """The name itself, if it is one."""
        from synth.exporters import EXPORTERS

        if value not in EXPORTERS:
            self.fail(f"{value!r} is not one of {', '.join(map(repr, EXPORTERS))}.", param, ctx)
        return value


def shard(ctx, param, value: str) -> tuple[int, int]:
    """`i/m` as two numbers; a click callback."""
    try:
        i, m = (int(part) for part in value.split("/"))
    except ValueError:
        raise click.BadParameter(f"expected i/m such as 0/8, found {value!r}.") from None
    if not 0 <= i < m:
        raise click.BadParameter(f"expected i/m with 0 <= i < m, found {value!r}.")
    return i, m


def chosen_sources(data: str | None, layouts: str | None, out: str, quiet: bool):
    """The `Sources` that --data and --layouts name, the embedded ones without --data; says which cases are left out."""
    from pathlib import Path

    from synth.cli.progress import bar
    from synth.hosts.sources import data_sources, embedded_sources

    if data is None:
        return embedded_sources()
    kept = Path(layouts) if layouts else Path(f"{Path(out)}-layouts")
    sources, problems = data_sources(data, kept, bar("extracting layouts", "case", quiet))
    for problem in problems:
        click.echo(f"left out: {problem}", err=True)
    return sources
