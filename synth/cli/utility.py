"""`synth utility`: does training on the synthetic pairs help on real scans?"""

import click

from synth.cli.options import opened_as_real, reading_options


@click.command(name="utility")
@click.option("--train", type=click.Path(), required=True, help="Real annotated cases to learn from.")
@click.option("--synthetic", type=click.Path(), required=True, help="What `synth generate` wrote, NIfTI or HDF5.")
@click.option("--test", type=click.Path(), required=True, help="Real annotated cases that nothing was learnt from.")
@click.option("--out", "-o", type=click.Path(), required=True, help="Folder to write to; an interrupted run goes on.")
@click.option(
    "--preset",
    type=click.Choice(["quick", "standard", "full"]),
    default="standard",
    show_default=True,
    help="Budget: minutes or an hour or two on 2 CPU cores, or hours on a GPU.",
)
@click.option("--quick", is_flag=True, help="The same as --preset quick.")
@click.option("--seeds", type=click.IntRange(min=1), help="Runs of each arm. [default: the preset's]")
@click.option("--seed", type=click.IntRange(min=0), help="The first seed. [default: 0]")
@click.option("--steps", type=click.IntRange(min=1), help="Training steps of each run. [default: the preset's]")
@click.option("--arch", type=click.Choice(["unet3d", "vox2vox"]), help="The segmenter. [default: unet3d]")
@click.option("--width", type=click.IntRange(min=4), help="Its base filters. [default: the preset's]")
@click.option("--patch", type=click.IntRange(min=16), help="Edge of the patches, a multiple of 16.")
@click.option("--batch", type=click.IntRange(min=1), help="Patches a step.")
@click.option("--cases", type=click.IntRange(min=1), help="Use only so many real cases, drawn by each seed.")
@click.option("--generator", type=click.Path(), help="The model that painted the set, if it is not shipped.")
@click.option("--cache", type=click.Path(), help="Where prepared cases are kept. [default: OUT/cache]")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Result only, no progress of preparing and runs.")
@reading_options
@click.pass_context
def command(ctx, train, synthetic, test, out, preset, quick, generator, cache, as_json, quiet, reading, **changes):
    """Train one segmenter on real, on synthetic and on both, and test all three on real scans.

    Same network, same start, same number of steps, for several seeds. Prints Dice per region with 95 % intervals over
    the test cases, the TSTR ratio (synthetic over real) and the gain of both over real. OUT gets utility.json,
    utility.txt, utility.png (utility_N_cases with --cases N) and a folder per run; the same command goes on after an
    interruption, and more --seeds or another number of --cases may be asked for in the same OUT. Test patients among
    the training cases, or among the ancestors of synthetic ones, are refused. OUT/cache holds your patients' voxels.

    \b
    Example:
      synth utility --train train --synthetic synthetic --test val --out utility --quick
      synth utility --train train --synthetic synthetic --test val --out utility --seeds 5 --cases 4
    """  # noqa: D301 (click needs the real backspace)
    import json

    from synth.cli.progress import bar
    from synth.experiments.utility import UtilityConfig, run_utility

    if quick and ctx.get_parameter_source("preset").name != "DEFAULT" and preset != "quick":
        raise click.UsageError("--quick and --preset name different budgets; give one of them.")
    given = {name: value for name, value in changes.items() if value is not None}
    config = UtilityConfig.preset("quick" if quick else preset, **given)
    result = run_utility(
        config,
        opened_as_real(train, reading),
        synthetic,
        opened_as_real(test, reading),
        out,
        generator=generator,
        cache=cache,
        quiet=quiet,
        progress=bar("preparing", "case", quiet),
        tell=lambda line: click.echo(line, err=True) if not quiet else None,
    )
    if result is None:
        click.echo(f"stopped and saved; the same command goes on from there ({out}).", err=True)
        ctx.exit(130)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=1))
        return
    for line in result.table():
        click.echo(line)
    for note in result.notes:
        click.echo(f"note: {note}")
    click.echo(f"scores of every case and run in {out}.")
