"""`synth export`: sets in the layouts that training programs read."""

import click

from synth.cli.options import opened, reading_options, warn

LAYOUTS = ("nnunet", "msd", "bids", "tfrecord", "hf", "brats2020", "brats2023")


@click.command(name="export")
@click.argument("sets", metavar="[SET]...", type=click.Path(), nargs=-1)
@click.argument("out", type=click.Path())
@click.option("--to", type=click.Choice(LAYOUTS), required=True, help="The layout of OUT.")
@click.option("--real", type=click.Path(), multiple=True, help="A folder of real cases, along with the sets.")
@click.option("--link", type=click.Choice(["soft", "hard"]), help="Links to the files in place of copies.")
@click.option("--in-place", is_flag=True, help="nnU-Net: point to the images where they are, in dataset.json.")
@click.option("--regions", is_flag=True, help="nnU-Net: whole tumour, core and enhancing tumour in place of labels.")
@click.option("--folds", type=click.IntRange(min=2), help="nnU-Net: of splits_final.json. [default: 5]")
@click.option("--seed", type=click.IntRange(min=0), help="nnU-Net: of the split. [default: 0]")
@click.option("--per-shard", type=click.IntRange(min=1), help="TFRecord: cases a file. [default: 8]")
@click.option("--prefix", help="Number the painted cases anew, after this.")
@click.option("--first", type=click.IntRange(min=0), help="Number the painted cases anew, from this.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted export: same settings, same tree.")
@click.option("--force", is_flag=True, help="Replace what an earlier export wrote.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@reading_options
def command(sets, out, to, real, prefix, first, resume, force, quiet, reading, **options):
    """Write the cases of each SET (NIfTI or HDF5, with its manifest) to OUT as other programs read them.

    Real cases go along with --real. For nnU-Net, splits_final.json validates on real cases alone, and nothing that
    descends from a patient of a fold's validation is trained on in it. Cases that descend from patients are their
    anatomy: share an export only where the scans may be shared.

    \b
    Example:
      synth export set nnUNet_raw/Dataset501_Synth --to nnunet --real BraTS2021_TrainingData
      synth export seed1 seed2 merged --to brats2020 --prefix Synth_ --link hard
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.runs.export.run import export
    from synth.runs.export.target import Options

    if not sets and not real:
        raise click.UsageError("expected a SET before OUT, or --real with real cases.")
    done = export(
        [opened(path, reading) for path in sets],
        out,
        to=to,
        real=[opened(path, reading) for path in real],
        options=Options(**{key: value for key, value in options.items() if value is not None}),
        prefix=prefix,
        first=first,
        reading=reading,
        resume=resume,
        force=force,
        progress=bar("exporting", "case", quiet),
    )
    for note in done.notes:
        warn(note)
    click.echo(done.sentence())
