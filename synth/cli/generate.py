"""`synth generate`: the main job."""

import click

from synth.cli.options import (
    FormatName,
    absolute,
    chosen_sources,
    reading_options,
    seen_by_workers,
    style_option,
    warn,
    workers_options,
)
from synth.cli.options import shard as _shard


@click.command(name="generate")
@click.option("--n", "-n", type=click.IntRange(min=1), required=True, help="How many cases.")
@click.option("--out", "-o", type=click.Path(), required=True, help="Folder to write to, or s3://bucket/prefix.")
@click.option(
    "--data", type=click.Path(), help="Your BraTS cases, or layouts extracted from them. [default: none needed]"
)
@click.option("--model", default="default", show_default=True, help="A shipped model's name or a model's folder.")
@click.option("--format", "format_", type=FormatName(), default="nifti", show_default=True)
@click.option("--naming", type=click.Choice(["brats2020", "brats2023"]), default="brats2020", show_default=True)
@click.option("--prefix", help="Of the cases' ids. [default: Synth_, with brats2023 Synth-GLI-]")
@click.option("--first", type=click.IntRange(min=0), default=0, show_default=True, help="Number of the first id.")
@click.option("--shard-gb", type=float, help="HDF5: size of a file in 10^9 bytes. [default: one file]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--edits",
    help="A preset (gentle, standard, wild, none: see above), a policy file (.yaml, .json) or edits by comma. "
    "[default: standard]",
)
@click.option("--plan", help="What is to be covered: balanced, balanced-volume (-side, -lobe, ...) or a plan file.")
@style_option
@click.option("--gate", help="Refuse samples below this Dice: 0.6 (whole tumour) or WT=0.6,TC=0.4,ET=0.3.")
@click.option("--redraws", type=click.IntRange(min=0), help="How often a refused sample is drawn again. [default: 4]")
@click.option("--segmenter", help="What scores the samples: a shipped name or a model's folder. [default: default]")
@click.option("--no-scores", is_flag=True, help="Do not segment the samples again: faster, no scores and no gate.")
@click.option("--layouts", type=click.Path(), help="Where layouts of DATA are kept. [default: OUT-layouts]")
@click.option("--shard", callback=_shard, default="0/1", help="i/m: only samples k with k mod m = i, for clusters.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run: same settings, same bytes.")
@click.option("--force", is_flag=True, help="Replace what an earlier run wrote.")
@click.option("--dry-run", is_flag=True, help="Draw the recipes only: OUT/recipes.jsonl, nothing is painted.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@workers_options
@reading_options
def command(
    n,
    out,
    data,
    model,
    format_,
    naming,
    prefix,
    first,
    shard_gb,
    seed,
    edits,
    plan,
    style,
    gate,
    redraws,
    segmenter,
    no_scores,
    layouts,
    shard,
    resume,
    force,
    dry_run,
    quiet,
    reading,
    workers,
):
    """Generate N synthetic cases: four modalities and exact labels each.

    Without --data, brains come from an atlas, tumours are drawn and styles sampled: nothing of yours is needed. With
    --data, your cases' brains, tumours and styles are recombined by edits. OUT gets a folder per case (or HDF5
    shards, or what nnU-Net, readers of the Decathlon or BIDS apps take), manifest.jsonl and contact_sheet.png. Sample
    k depends on the seed, k and the settings alone.

    \b
    --edits says what becomes of your patients' brains. As the report measures images, a copy is at 0 and two patients
    are at 0.48 or more; a sample comes as near to its host as
      gentle    0.2: keeps each brain as it is and alters the tumour, for what stays in the house.
      standard  0.5: makes each brain another one and gives it another tumour.
      wild      0.5: the same, farther in the mean, in broad ranges: beyond what patients have.
      none      paints the layouts as they are: for layouts that may be shown.

    With --plan, every sample's volume, side, lobe, enhancement or number of lesions is as the plan wants it; the counts
    are printed and kept in coverage.json.

    Every sample is segmented again, and the Dice between its labels and what was found is written to the manifest.
    With --gate, a sample below it is drawn again, and if that does not help put into OUT/quarantine: OUT then has
    fewer than N. How many were refused, and why, is printed and recorded.

    --workers shares the work out among processes of this machine, --scheduler among a cluster's that see the same
    folders; the set is the same to the byte (docs/scale.md; needs pip install 'synth-brats[dask]').
    An OUT such as s3://bucket/prefix takes the cases as objects (needs pip install 'synth-brats[cloud]').

    \b
    Example:
      synth generate --n 500 --out synthetic
      synth generate --n 500 --out synthetic --data BraTS2021_TrainingData --seed 7
      synth generate --n 500 --out more --seed 8 --first 500
      synth generate --n 500 --out synthetic --resume
      synth generate --n 100 --out synthetic --plan balanced --edits policy.yaml
      synth generate --n 500 --out synthetic --gate 0.6
      synth generate --n 500 --out synthetic --workers 4
    """  # noqa: D301 (click needs the real backspace)
    import json

    from synth.cli.progress import bar
    from synth.models.cards import read_card, sees_detail
    from synth.runs.coverage import plan_coverage
    from synth.runs.generate import GenerateConfig, Generation, generate, write_recipes

    if workers:  # where they work, too
        data, layouts = seen_by_workers(data, layouts, out)
        model, segmenter = map(absolute, (model, segmenter))
    config = GenerateConfig(
        seed=seed,
        format=format_,
        naming=naming,
        edits=edits or None,
        style=style,
        plan=plan or None,
        prefix=prefix,
        first=first,
        shard_gb=shard_gb,
    )
    chosen = chosen_gate(gate, redraws, segmenter, no_scores)
    sources = chosen_sources(data, layouts, out, quiet, reading, detail=sees_detail(read_card(model)))
    generation = Generation(sources, model, config)
    mine = range(shard[0], n, shard[1])
    surveying = bar("drawing without the plan, to compare", "layout", quiet)
    if dry_run:
        drawing = bar("drawing", "layout", quiet, len(mine))
        path = write_recipes(generation, n, out, force=force, shard=shard, progress=drawing)
        click.echo(f"{len(mine)} recipes in {path}.")
        if generation.sampler.plan:
            made = [json.loads(line)["plan"] for line in path.read_text().splitlines()]
            click.echo(plan_coverage(generation, n, shard, made, surveying).table())
        return
    judge = chosen()
    painting = bar("generating", "case", quiet, len(mine))
    outcome = generate(
        generation,
        n,
        out,
        gate=judge,
        resume=resume,
        force=force,
        shard=shard,
        workers=workers,
        progress=painting,
        surveying=surveying,
    )
    for note in outcome.notes:
        warn(note)
    click.echo(outcome.sentence())
    for line in outcome.gate.lines() if outcome.gate else ():
        click.echo(line)
    if outcome.coverage:
        click.echo(outcome.coverage.table())


def chosen_gate(gate: str | None, redraws: int | None, segmenter: str | None, no_scores: bool):
    """A function that makes the gate that the options ask for, or None; wrong options are refused at once."""
    from synth.errors import SynthError
    from synth.runs.gate import REDRAWS, Gate, thresholds_of

    if no_scores and (gate is not None or segmenter is not None or redraws is not None):
        raise SynthError("--no-scores goes with none of --gate, --redraws and --segmenter; leave it out.")
    if gate is None and redraws is not None:
        raise SynthError("--redraws needs a --gate that can refuse samples, such as --gate 0.6.")
    thresholds = None if gate is None else thresholds_of(gate)
    if no_scores:
        return lambda: None
    return lambda: Gate(segmenter or "default", thresholds, REDRAWS if redraws is None else redraws)
