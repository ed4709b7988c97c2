"""`synth segment`: tumour labels for scans."""

import click

from synth.cli.options import absolute, opened, reading_options, warn, workers_options


@click.command(name="segment")
@click.argument("scans", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--model", default="default", show_default=True, help="A shipped segmenter's name or a model's folder.")
@click.option(
    "--ensemble", is_flag=True, help="The model is a run of `synth train segmenter --folds`: average its folds."
)
@click.option(
    "--mirror",
    type=click.Choice(["none", "x", "xyz"]),
    help="Average mirrored views (x: left-right; xyz: all 8). [default: none]",
)
@click.option(
    "--overlap", type=click.FloatRange(0, 0.9), help="Share of a window that the next covers again. [default: half]"
)
@click.option("--no-postprocess", is_flag=True, help="Keep small parts and small enhancing tumours.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run: same settings, same bytes.")
@click.option("--force", is_flag=True, help="Replace what an earlier run wrote.")
@click.option("--json", "as_json", is_flag=True, help="Print the scores, every case, as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@workers_options
@reading_options(healthy=False)
def command(scans, out, model, ensemble, no_postprocess, resume, force, as_json, quiet, reading, workers, **options):
    """Segment the cases below SCANS (any set that `synth check` reads) to OUT/<id>/<id>_seg.nii.gz.

    Names, label values and geometry are as the scans have them; of nnU-Net's and the Decathlon's sets, OUT/<id>.nii.gz
    with the values of dataset.json, as in labelsTr. With --resample, scans on another grid than BraTS's are brought to
    it and their labels back to the scan's own. Cases that come with a segmentation are measured
    against it: mean and median of every metric are printed, all cases are in OUT/scores.json. OUT/contact_sheet.png
    shows what was found: it shows patients, keep it with the dataset. Not for clinical use.

    \b
    Example:
      synth segment BraTS2021_ValidationData found
      synth segment BraTS2021_ValidationData found --model run --ensemble --mirror x
      synth segment BraTS2021_ValidationData found --workers 4
    """  # noqa: D301 (click needs the real backspace)
    import json

    from synth.cli.progress import bar
    from synth.runs.segment import segment

    done = segment(
        opened(scans, reading),
        out,
        model=absolute(model) if workers else model,  # where they work, too
        ensemble=ensemble,
        postprocess=not no_postprocess,
        resume=resume,
        force=force,
        workers=workers,
        progress=bar("segmenting", "case", quiet),
        tell=warn,
        **{key: value for key, value in options.items() if value is not None},  # the library has the defaults
    )
    if done.trained_on:
        click.echo(
            f"note: the model was trained on {len(done.trained_on)} of the {len(done.scores)} cases with labels; their "
            "scores say nothing about new scans.",
            err=True,
        )
    if done.caution:
        click.echo(f"note: {done.caution}", err=True)
    if as_json:
        click.echo(json.dumps({"cases": done.scores, "summary": done.summary}, indent=1))
        return
    for line in done.table():
        click.echo(line)
    click.echo(done.sentence())
