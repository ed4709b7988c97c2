"""`synth reconstruct`: the paired check of the generator."""

import json

import click

from synth.cli.options import opened, reading_options, warn


@click.command(name="reconstruct")
@click.argument("data", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--model", default="default", show_default=True, help="A shipped model's name or a model's folder.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the noise.")
@click.option("--force", is_flag=True, help="Write into a folder that is not empty.")
@click.option("--json", "as_json", is_flag=True, help="Print every case and modality as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@reading_options
def command(data, out, model, seed, force, as_json, quiet, reading):
    """Paint each case below DATA from its own layout in its own style, nothing edited, to OUT.

    Prints, per modality and averaged over the cases, SSIM and PSNR inside the brain against the real scan, the same
    for painting each class with its median intensity, and the ratio of fine texture. OUT/contact_sheet.png shows real
    above painted: it shows patients, keep it with the dataset.

    \b
    Example:
      synth reconstruct BraTS2021_ValidationData check
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.runs.reconstruct import reconstruct, summary_lines

    cases = opened(data, reading)
    progress = bar("reconstructing", "case", quiet)
    rows = reconstruct(cases, out, model=model, seed=seed, force=force, progress=progress, tell=warn)
    if as_json:
        click.echo(json.dumps([vars(row) for row in rows], indent=1))
        return
    for line in summary_lines(rows):
        click.echo(line)
    click.echo(f"{len(rows) // 4} cases in {out}.")
