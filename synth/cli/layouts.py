"""`synth layouts`: the label layouts that are painted."""

import click


@click.group(name="layouts")
def command():
    """Make the label layouts (tissue, tumour, style) that the generator paints.

    \b
    Example:
      synth layouts extract BraTS2021_TrainingData layouts
    """  # noqa: D301 (click needs the real backspace)


@command.command()
@click.argument("data", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--force", is_flag=True, help="Make layouts anew that are there already.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar; problems only.")
@click.pass_context
def extract(ctx, data, out, force, quiet):
    """Find tissue, tumour and style of every BraTS case below DATA; write a folder each to OUT.

    ID_tissue.nii.gz (1 CSF, 2 GM, 3 WM; complete underneath the tumour), ID_tumour.nii.gz (1 NCR, 2 ED, 3 ET) and
    ID_style.json. `synth generate --data OUT` takes them. What is there and unchanged is kept.

    \b
    Example:
      synth layouts extract BraTS2021_TrainingData layouts
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.layout.extract import extract_layouts

    results = extract_layouts(data, out, force=force, progress=bar("extracting layouts", "case", quiet))
    failed = [result for result in results if result.problem]
    for result in failed:
        click.echo(f"error: {result.problem}", err=True)
    if not quiet:
        kept = sum(result.kept for result in results)
        aside = f" ({kept} were there already)" if kept else ""
        click.echo(f"{len(results) - len(failed)} of {len(results)} layouts in {out}{aside}.")
    if failed:
        ctx.exit(1)
