"""`synth view`: cases and layouts in an interactive page."""

import click

from synth.cli.options import opened, reading_options


@click.command(name="view")
@click.argument("places", metavar="CASE...", nargs=-1, required=True, type=click.Path())
@click.option("--out", "-o", type=click.Path(), default="view.html", show_default=True, help="The page to write.")
@click.option("--n", "-n", "limit", type=click.IntRange(min=1), help="Cases at most, about 7 MB each. [default: 6]")
@click.option("--open", "-w", "browse", is_flag=True, help="Show it in the browser.")
@click.option("--force", is_flag=True, help="Replace the page if it is there.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@reading_options
def command(places, out, limit, browse, force, quiet, reading):
    """Write a page that shows each CASE in three planes and in 3D: modalities, labels over them, full resolution.

    CASE is the folder of a BraTS case or of many, a layout or a folder of layouts (tissue and tumour), an HDF5 set of
    synth, or a segmentation. The page is one file, works offline and asks no network for anything. It holds the scans
    themselves: keep it where they may be kept. Prints the page's path.

    \b
    Example:
      synth view synthetic/Synth_00000
      synth view synthetic BraTS2021_TrainingData -n 4 --out both.html --open
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.show.view import view

    settings = {} if limit is None else {"limit": limit}  # the library has the default
    done = view(
        [opened(place, reading, scans=False) for place in places],
        out,
        force=force,
        progress=bar("reading", "case", quiet),
        **settings,
    )
    if done.left_out:
        click.echo(f"note: {done.sentence()}", err=True)
    click.echo(done.path)
    if browse:
        import webbrowser

        if not webbrowser.open(done.path.absolute().as_uri()):
            click.echo("note: no browser could be started; open the page yourself.", err=True)
