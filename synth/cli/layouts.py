"""`synth layouts`: the label layouts that are painted; nothing here needs a network."""

import click

from synth.cli.options import (
    chosen_sources,
    opened,
    reading_options,
    seen_by_workers,
    style_option,
    warn,
    workers_options,
)
from synth.cli.options import shard as _shard

_EDITS = "A preset (gentle, standard, wild, none), a policy file (.yaml, .json), or edits by comma."
_QUIET = click.option("--quiet", "-q", is_flag=True, help="No progress bar; problems only.")
_SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
_RESUME = click.option("--resume", is_flag=True, help="Go on with an interrupted set: same settings, same bytes.")
_FORCE = click.option("--force", is_flag=True, help="Replace what an earlier run wrote.")


@click.group(name="layouts")
def command():
    """Make, edit, show and measure the label layouts (tissue, tumour, style) that the generator paints.

    \b
    Example:
      synth layouts extract BraTS2021_TrainingData layouts
      synth layouts sample --n 100 --out sampled
      synth layouts show sampled --out sampled.png
    """  # noqa: D301 (click needs the real backspace)


@command.command()
@click.argument("data", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--detail", is_flag=True, help="Shares of tissue within voxels, vessels and voids, too (5 s a case).")
@click.option("--force", is_flag=True, help="Make layouts anew that are there already.")
@_QUIET
@reading_options
@click.pass_context
def extract(ctx, data, out, detail, force, quiet, reading):
    """Find tissue, tumour and style of every BraTS case below DATA; write a folder each to OUT.

    ID_tissue.nii.gz (1 CSF, 2 GM, 3 WM; complete underneath the tumour), ID_tumour.nii.gz (1 NCR, 2 ED, 3 ET) and
    ID_style.json. `synth generate --data OUT` takes them. What is there and unchanged is kept. With --detail also
    ID_csf.nii.gz and ID_wm.nii.gz (eighths of a voxel), ID_vessels.nii.gz and ID_void.nii.gz (0 to 4), which edited
    layouts keep, and the tumour's ID_tone_t1.nii.gz, _t1ce, _t2 and _flair (1 to 63, 32 as bright as its class).

    \b
    Example:
      synth layouts extract BraTS2021_TrainingData layouts
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.datasets.findings import folded_lines
    from synth.hosts.extract import extract_layouts

    progress = bar("extracting layouts", "case", quiet)
    cases = opened(data, reading)
    results = extract_layouts(cases, out, detail=detail, force=force, progress=progress, tell=warn)
    failed = [result for result in results if result.problem]
    for problem in folded_lines((result.id, result.problem) for result in failed):
        click.echo(f"error: {problem}", err=True)
    if not quiet:
        kept = sum(result.kept for result in results)
        aside = f" ({kept} were there already)" if kept else ""
        click.echo(f"{len(results) - len(failed)} of {len(results)} layouts in {out}{aside}.")
    if failed:
        ctx.exit(1)


@command.command()
@click.option("--n", "-n", type=click.IntRange(min=1), required=True, help="How many layouts.")
@click.option("--out", "-o", type=click.Path(), required=True, help="Folder to write to.")
@click.option(
    "--data", type=click.Path(), help="Your BraTS cases, or layouts extracted from them. [default: none needed]"
)
@click.option("--edits", help=f"{_EDITS} [default: standard]")
@click.option("--plan", help="What is to be covered: balanced, balanced-volume (-side, -lobe, ...) or a plan file.")
@style_option
@_SEED
@click.option("--layouts", type=click.Path(), help="Where layouts of DATA are kept. [default: OUT-layouts]")
@click.option("--shard", callback=_shard, default="0/1", help="i/m: only samples k with k mod m = i, for clusters.")
@_RESUME
@_FORCE
@_QUIET
@workers_options
@reading_options
def sample(n, out, data, edits, plan, style, seed, layouts, shard, resume, force, quiet, reading, workers):
    """Draw N layouts as `synth generate` would, and write them without painting.

    Sample k is the layout (and style) of sample k of `synth generate` with the same seed and settings. OUT gets a
    folder per layout and manifest.jsonl; `synth generate --data OUT` takes them as hosts (with --edits none: paints
    them as they are), `synth replay` makes single ones again.

    \b
    Example:
      synth layouts sample --n 1000 --out sampled
      synth layouts sample --n 100 --out sampled --plan balanced
      synth layouts sample --n 1000 --out sampled --data BraTS2021_TrainingData --edits wild --seed 7
      synth layouts sample --n 1000 --out sampled --workers 4
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.runs.generate import GenerateConfig, Generation
    from synth.runs.layouts import sample_layouts

    if workers:  # where they work, too
        data, layouts = seen_by_workers(data, layouts, out)
    sources = chosen_sources(data, layouts, out, quiet, reading)
    generation = Generation(
        sources, config=GenerateConfig(seed=seed, edits=edits or None, style=style, plan=plan or None)
    )
    drawing = bar("drawing", "layout", quiet)
    surveying = bar("drawing without the plan, to compare", "layout", quiet)
    outcome = sample_layouts(
        generation,
        n,
        out,
        resume=resume,
        force=force,
        shard=shard,
        workers=workers,
        progress=drawing,
        surveying=surveying,
    )
    click.echo(outcome.sentence())
    if outcome.coverage:
        click.echo(outcome.coverage.table())


@command.command()
@click.argument("source", metavar="IN", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--edits", required=True, help=_EDITS)
@click.option("--n", "-n", type=click.IntRange(min=1), default=1, show_default=True, help="Edited copies of each.")
@_SEED
@click.option("--donors", type=click.Path(), help="Whose tumours may be swapped in. [default: the other layouts of IN]")
@_RESUME
@_FORCE
@_QUIET
@reading_options
def edit(source, out, edits, n, seed, donors, resume, force, quiet, reading):
    """Apply edits to each layout of IN, with other draws for each of N copies; write them to OUT as ID_000, ID_001, ...

    IN is a layout's folder, a folder of layouts, or one of BraTS cases, whose layouts are then found on the way (about
    3 s a case). The parameters that were drawn stand in OUT/manifest.jsonl.

    \b
    Example:
      synth layouts edit layouts edited --edits elastic,mirror:layout --n 5
      synth layouts edit layouts/BraTS2021_00002 edited --edits policy.yaml --donors layouts
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.hosts.inputs import only_layouts
    from synth.runs.layouts import edit_layouts

    outcome = edit_layouts(
        only_layouts(opened(source, reading, scans=False)),
        out,
        edits,
        copies=n,
        seed=seed,
        donors=only_layouts(opened(donors, reading, scans=False)) if donors else (),
        resume=resume,
        force=force,
        progress=bar("editing", "layout", quiet),
    )
    click.echo(outcome.sentence())


@command.command()
@click.argument("layouts", metavar="LAYOUT...", nargs=-1, required=True, type=click.Path())
@click.option("--out", "-o", type=click.Path(), required=True, help="The PNG to write.")
@click.option("--rows", type=click.IntRange(min=1), default=40, show_default=True, help="Most layouts shown.")
@click.option("--scale", type=click.IntRange(1, 6), help="Pixels per mm. [default: 2 for up to 6 layouts, else 1]")
@click.option("--force", is_flag=True, help="Replace the picture if it is there.")
@_QUIET
@reading_options
def show(layouts, out, rows, scale, force, quiet, reading):
    """Draw layouts as a PNG, a row each: axial, coronal and sagittal plane through the tumour, and volumes.

    LAYOUT is a layout's folder or a folder of them, BraTS cases (the tumour on the scan), ID_seg.nii.gz files (the
    tumour on the atlas), or a set that `synth generate` wrote. Radiological orientation, marked in every plane.

    \b
    Example:
      synth layouts show layouts/BraTS2021_00002 --out layout.png
      synth layouts show sampled BraTS2021_TrainingData --rows 12 --out both.png
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.hosts.inputs import find_inputs
    from synth.show.layouts import show_layouts

    inputs = [given for path in layouts for given in find_inputs(opened(path, reading, scans=False))]
    drawing = bar("drawing", "layout", quiet)
    path = show_layouts(inputs, out, scale=scale, max_rows=rows, force=force, progress=drawing)
    if not quiet:
        click.echo(f"{min(rows, len(inputs))} of {len(inputs)} layouts in {path}.")


@command.command()
@click.argument("layouts", metavar="LAYOUTS", type=click.Path())
@click.option("--against", type=click.Path(), help="Real layouts, cases or segmentations to compare with.")
@click.option("--json", "json_file", type=click.Path(), help="Write everything, each layout too, to this file.")
@click.option("--force", is_flag=True, help="Replace the JSON file if it is there.")
@_QUIET
@reading_options
def stats(layouts, against, json_file, force, quiet, reading):
    """Say what LAYOUTS are like: volumes, composition, shapes and places; mean, sd, median, 5 and 95 %.

    LAYOUTS is anything that `synth layouts show` takes. With --against, each line has the Kolmogorov-Smirnov distance
    to a random half of the real set beside that between the real halves (averaged over 50 splits), and their ratio:
    1 is as alike as real data are to each other.

    \b
    Example:
      synth layouts stats sampled
      synth layouts stats sampled --against BraTS2021_TrainingData --json stats.json
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.disk.claim import STATISTICS, claim_file
    from synth.hosts.inputs import find_inputs
    from synth.quality.layout_stats import distances, layout_statistics, table_lines, write_json

    if json_file:
        claim_file(json_file, STATISTICS, force=force)
    inputs = find_inputs(opened(layouts, reading, scans=False))
    real = find_inputs(opened(against, reading, scans=False)) if against else []
    statistics = layout_statistics(inputs, bar("measuring", "layout", quiet))
    compared = distances(statistics, layout_statistics(real, bar("measuring real", "layout", quiet))) if real else None
    if json_file:
        write_json(json_file, statistics, compared)
    for line in table_lines(statistics, compared):
        click.echo(line)
