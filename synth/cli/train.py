"""`synth train`: networks from your own cases."""

from dataclasses import replace

import click

from synth.cli.options import given, opened, reading_options

_QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress, neither of preparing nor of training.")


@click.group(name="train")
def command():
    """Train a network on your own cases.

    \b
    Example:
      synth train generator --data train --val val --out run
    """  # noqa: D301 (click needs the real backspace)


@command.command()
@click.option("--data", type=click.Path(), required=True, help="Annotated BraTS cases to learn from.")
@click.option("--val", type=click.Path(), help="Cases that pick the best weights; never learnt from.")
@click.option("--out", type=click.Path(), required=True, help="The run's folder; an interrupted run there goes on.")
@click.option("--init", help="A model to begin from: default, or a model's folder. [default: from nothing]")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps in all.")
@click.option("--batch", type=click.IntRange(min=1), help="Patches a step, over all devices.")
@click.option("--patch", type=click.IntRange(min=16), help="Edge of the cubic patches in voxels, a multiple of 16.")
@click.option("--width", type=click.IntRange(min=4), help="Base filters. [default: of --init; detail 16, else 32]")
@click.option(
    "--conditioning",
    type=click.Choice(["painted", "onehot", "detail"]),
    help="What it sees: the painted layout, labels alone (the baseline), or the layout with its detail (shares of "
    "tissue, vessels; found in the scans). [default: that of --init, else detail]",
)
@click.option("--precision", type=click.Choice(["auto", "float32", "mixed_float16", "mixed_bfloat16"]))
@click.option("--validate-every", type=click.IntRange(min=1), help="Steps between validations.")
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--name", help="The model's name, for its card. [default: the folder's]")
@_QUIET
@reading_options
def generator(data, val, out, init, name, patch, width, conditioning, quiet, reading, **options):
    """Train the generator that `synth generate` paints with.

    RUN gets checkpoints, losses.csv, TensorBoard logs, a preview PNG at every validation, and at the end model/ with
    weights and card: `synth generate --model RUN/model`. Ctrl-C saves; the same command goes on. Several GPUs are
    used at once. RUN/cache holds your patients' voxels: keep it where the dataset may be kept.

    \b
    Example:
      synth train generator --data train --val val --out run --steps 20000
      synth train generator --data train --val val --out run --steps 2000 --init default
    """  # noqa: D301 (click needs the real backspace)
    from synth.models.architectures import generator_config
    from synth.models.cards import read_card
    from synth.models.configs import GeneratorConfig
    from synth.trainers.painting.training import GeneratorTraining, train_generator

    said = given(conditioning=conditioning, width=width)
    parent = None if init is None else generator_config(read_card(init)["generator"])
    if parent is None or isinstance(parent, GeneratorConfig):
        config = GeneratorTraining.of(**({} if parent is None else vars(parent)) | said)
    else:  # registered from outside: it is as it is
        config = GeneratorTraining(generator=parent)
    config = replace(
        config,
        train=replace(config.train, **given(**options)),
        patch=replace(config.patch, **given(size=patch)),
    )
    tell = lambda note: click.echo(f"note: {note}")  # noqa: E731
    folder = train_generator(
        opened(data, reading), opened(val, reading), out, config, init=init, name=name or "", quiet=quiet, tell=tell
    )
    if folder is None:
        click.echo(f"stopped and saved; the same command goes on from there ({out}).")
    else:
        click.echo(f"weights and card in {folder}; use them with: synth generate --model {folder}")


@command.command()
@click.option("--data", multiple=True, type=click.Path(), help="Real annotated cases to learn from; may be repeated.")
@click.option("--synthetic", multiple=True, type=click.Path(), help="Sets that synth painted (NIfTI, HDF5); likewise.")
@click.option("--synthetic-share", type=click.FloatRange(0, 1), help="Of the patches. [default: 0.5; 1 without --data]")
@click.option("--fresh-share", type=click.FloatRange(0, 1), default=0.0, help="Of the patches, painted meanwhile.")
@click.option("--fresh-from", type=click.Path(), help="Cases that fresh samples are drawn from. [default: none needed]")
@click.option("--generator", default="default", show_default=True, help="The model that paints fresh samples.")
@click.option("--val", type=click.Path(), help="Cases that pick the best weights; never learnt from.")
@click.option("--folds", type=click.IntRange(min=2), help="K models, each without one fold of the patients.")
@click.option("--fold", type=click.IntRange(min=0), help="With --folds: this one alone, one job of a cluster.")
@click.option("--thresholds", type=click.Path(), help="A finished run with --folds whose post-processing to take over.")
@click.option("--out", type=click.Path(), required=True, help="The run's folder; an interrupted run there goes on.")
@click.option("--arch", type=click.Choice(["vox2vox", "unet3d"]), default="unet3d", show_default=True)
@click.option("--width", type=click.IntRange(min=4), help="Base filters. [default: vox2vox 64, unet3d 32]")
@click.option("--deep-supervision", is_flag=True, help="unet3d: losses at lower resolutions too.")
@click.option("--loss", type=click.Choice(["tversky", "generalised_dice"]), help="The overlap. [default: tversky]")
@click.option("--alpha", type=click.FloatRange(min=0), help="Tversky: weight of voxels wrongly marked.")
@click.option("--beta", type=click.FloatRange(min=0), help="Tversky: weight of voxels missed.")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps in all.")
@click.option("--batch", type=click.IntRange(min=1), help="Patches a step. [default: vox2vox 4, unet3d 1]")
@click.option("--accumulate", type=click.IntRange(min=1), help="Parts a batch is computed in, to save memory.")
@click.option("--patch", type=click.IntRange(min=16), help="Edge of the patches in voxels. [default: 128]")
@click.option("--augment", help="Of flip, rotation, gamma, elastic, by comma; none for none. [default: all]")
@click.option("--precision", type=click.Choice(["auto", "float32", "mixed_float16", "mixed_bfloat16"]))
@click.option("--validate-every", type=click.IntRange(min=1), help="Steps of an epoch: between validations.")
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--name", help="The model's name, for its card. [default: the folder's]")
@_QUIET
@reading_options
def segmenter(out, **options):
    """Train the segmenter that `synth segment` uses: Vox2Vox as published and calibrated, or a 3D U-Net.

    Cases may be real, painted before, painted meanwhile, or a mix. With --folds, K models are trained, each without one
    fold of the patients and without every synthetic case that descends from them; the thresholds of post-processing
    are chosen on the held-out predictions. RUN gets checkpoints, losses.csv, validation.jsonl (loss, Dice per region),
    TensorBoard logs, and at the end model/ (or fold_k/model/). Ctrl-C saves; the same command goes on. RUN/cache holds
    your patients' voxels: keep it where the dataset may be kept.

    \b
    Example:
      synth train segmenter --data train --val val --out run --steps 4000
      synth train segmenter --data train --synthetic set --out run --arch vox2vox --batch 4 --accumulate 4
      synth train segmenter --data train --out cv --folds 5
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.cli.segmenter_options import training_of
    from synth.trainers.segmentation.cross_validation import cross_validate, thresholds_of
    from synth.trainers.segmentation.training import train_segmenter

    folds, only, thresholds = options.pop("folds"), options.pop("fold"), options.pop("thresholds")
    quiet, name = options.pop("quiet"), options.pop("name") or ""
    if only is not None and folds is None:
        raise click.UsageError("--fold needs --folds.")
    if folds is not None and (options["val"] or thresholds):
        raise click.UsageError("--folds holds out folds of DATA itself: give neither --val nor --thresholds with it.")
    chosen = thresholds_of(thresholds) if thresholds else None
    config, mix, val = training_of(quiet=quiet, out=out, **options)
    common = {
        "name": name,
        "quiet": quiet,
        "progress": bar("preparing", "case", quiet),
        "tell": lambda note: click.echo(f"note: {note}"),
    }
    if folds is not None:
        done = cross_validate(mix, folds, out, config, only=only, **common)
        told = (
            f"{folds} models and folds.json in {done}; use them with: synth segment SCANS OUT --ensemble --model {done}"
        )
    else:
        done = train_segmenter(mix, val, out, config, thresholds=chosen, **common)
        told = f"weights and card in {done}; use them with: synth segment SCANS OUT --model {done}"
    click.echo(told if done else f"saved, not all is done; the same command goes on from there ({out}).")
