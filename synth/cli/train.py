"""`synth train`: networks from your own cases."""

import click


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
@click.option("--width", type=click.IntRange(min=4), help="Base filters of the generator.")
@click.option("--conditioning", type=click.Choice(["painted", "onehot"]), help="onehot: labels alone, the baseline.")
@click.option("--precision", type=click.Choice(["auto", "float32", "mixed_float16", "mixed_bfloat16"]))
@click.option("--validate-every", type=click.IntRange(min=1), help="Steps between validations.")
@click.option("--seed", type=click.IntRange(min=0))
@click.option("--name", help="The model's name, for its card. [default: the folder's]")
def generator(data, val, out, init, name, patch, width, conditioning, **options):
    """Train the generator that `synth generate` paints with.

    RUN gets checkpoints, losses.csv, TensorBoard logs, a preview PNG at every validation, and at the end model/ with
    weights and card: `synth generate --model RUN/model`. Ctrl-C saves; the same command goes on. Several GPUs are
    used at once. RUN/cache holds your patients' voxels: keep it where the dataset may be kept.

    \b
    Example:
      synth train generator --data train --val val --out run --steps 20000
      synth train generator --data train --val val --out run --steps 2000 --init default
    """  # noqa: D301 (click needs the real backspace)
    from synth.models.generator import GeneratorConfig
    from synth.trainers.data import PatchConfig
    from synth.trainers.generator import GeneratorTraining, train_generator
    from synth.trainers.vox2vox import TrainConfig

    def given(**values):  # the library's defaults stand where nothing was said
        return {key: value for key, value in values.items() if value is not None}

    config = GeneratorTraining(
        generator=GeneratorConfig(**given(width=width, conditioning=conditioning)),
        train=TrainConfig(**given(**options)),
        patch=PatchConfig(**given(size=patch)),
    )
    folder = train_generator(data, val, out, config, init=init, name=name or "")
    if folder is None:
        click.echo(f"stopped and saved; the same command goes on from there ({out}).")
    else:
        click.echo(f"weights and card in {folder}; use them with: synth generate --model {folder}")
