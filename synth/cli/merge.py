"""`synth merge`: the shards of a run as one set."""

import click


@click.command(name="merge")
@click.argument("shards", metavar="SHARD...", type=click.Path(), nargs=-1, required=True)
@click.argument("out", type=click.Path())
@click.option(
    "--link", type=click.Choice(["soft", "hard"]), help="Links to the files of the shards in place of copies."
)
@click.option("--resume", is_flag=True, help="Go on with an interrupted merge.")
@click.option("--force", is_flag=True, help="Replace what an earlier run wrote.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
def command(shards, out, link, resume, force, quiet):
    """Join the shards that `synth generate --shard i/m` wrote into OUT: the set that one run had written, to the byte.

    Every file is compared with its checksum in the shard's manifest. Shards of other settings are refused with the
    difference, incomplete ones with what is missing. Manifest, coverage, contact sheet and quarantine are joined;
    nothing is renumbered. HDF5 is packed anew, in files as large as the run's settings say. Shards and OUT may be
    addresses of one object store, which copies the files itself: they are believed to be whole, and not read.

    \b
    Example:
      synth generate --n 100000 --shard 3/8 --out part3
      synth merge part0 part1 part2 part3 part4 part5 part6 part7 set --link hard
      synth merge s3://bucket/part0 s3://bucket/part1 s3://bucket/set
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.runs.merge import merge

    done = merge(shards, out, link=link, resume=resume, force=force, progress=bar("merging", "case", quiet))
    click.echo(done.sentence())
    if done.coverage:
        click.echo(done.coverage.table())
