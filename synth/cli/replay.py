"""`synth replay`: samples made again from the manifest."""

import click


@click.command(name="replay")
@click.argument("manifest", type=click.Path())
@click.option("--id", "ids", multiple=True, required=True, help="Which sample, by id or number; may be repeated.")
@click.option("--out", "-o", type=click.Path(), required=True, help="Folder to write to.")
@click.option(
    "--data",
    type=click.Path(),
    multiple=True,
    help="The cases or layouts that the run used. [default: the layouts kept beside the run]",
)
@click.option("--model", help="The folder of the run's model, if that is not shipped.")
@click.option("--layout-only", is_flag=True, help="No painting: write the layout, compare the labels (NIfTI).")
@click.option("--force", is_flag=True, help="Replace these samples in a folder that is not empty.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar; what differs only.")
@click.pass_context
def command(ctx, manifest, ids, out, data, model, layout_only, force, quiet):
    """Make single samples of a run again, from its MANIFEST (the run's folder, or manifest.jsonl in it), to the byte.

    Takes what `synth generate`, `synth layouts sample` and `synth layouts edit` wrote. The recorded recipe, style and
    seeds are applied, nothing is drawn; the files are compared with the recorded checksums. Exit code 1 if any differs,
    with the likely reason. HDF5: the case gets a file of its own and its content is compared.

    \b
    Example:
      synth replay synthetic --id Synth_00003 --out again
      synth replay set/manifest.jsonl --id 3 --id 17 --data BraTS2021_TrainingData --out again
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.runs.replay import replay

    results = replay(
        manifest,
        ids,
        out,
        data=data,
        model=model,
        layout_only=layout_only,
        force=force,
        progress=bar("replaying", "sample", quiet),
    )
    for result in results:
        if result.differing or not quiet:
            click.echo(result.sentence(), err=bool(result.differing))
    if any(result.differing for result in results):
        ctx.exit(1)
