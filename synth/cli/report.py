"""`synth report`: may this set be trained on and shared?"""

import click

from synth.cli.options import opened_as_real, reading_options

BELOW = 3  # exit code where --fail-under is not reached; 1 is an error, 2 a wrong option


@click.command(name="report")
@click.option("--synthetic", required=True, type=click.Path(), help="The set in question: BraTS folders, or HDF5.")
@click.option("--real", required=True, type=click.Path(), help="Real cases with labels to compare it with.")
@click.option("--out", required=True, type=click.Path(), help="Folder for report.html and report.json.")
@click.option("--holdout", type=click.Path(), help="Real cases that the generator never saw: shows what is copied.")
@click.option(
    "--train-ids",
    metavar="IDS",
    help="Ids of the real cases it was trained on: a file, one a line, or separated by commas. [default: its card's]",
)
@click.option("--utility", type=click.Path(), help="Folder of `synth utility --out` for this set.")
@click.option("--segmenter", help="Segmenter for features and Dice: a name or a model's folder. [default: default]")
@click.option("--generator", type=click.Path(), help="Folder of the model that painted the set, if it does not ship.")
@click.option("--paired/--unpaired", default=None, help="Cases reconstruct those of the same id. [default: found out]")
@click.option("--sample", type=click.IntRange(1), help="At most so many cases of each set, chosen by the seed.")
@click.option("--seed", type=click.IntRange(0), help="Of every random choice. [default: 0]")
@click.option("--viewer", type=click.IntRange(0, 3), help="Cases of each set in the page's viewer. [default: 2]")
@click.option(
    "--pictures",
    type=click.Choice(["all", "charts", "none"]),
    help="charts: no scan is on the page, so that it can be passed on. [default: all]",
)
@click.option("--cache", type=click.Path(), help="Folder for measurements, shared by reports. [default: OUT/features]")
@click.option(
    "--fail-under",
    multiple=True,
    metavar="BAR",
    help="Exit with code 3 if a section is worse: pass, look, or the share of checks that must pass (0.8). For one "
    "section: memorisation=pass. May be given several times.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes that measure cases. [default: as many as pay]")
@click.option("--force", is_flag=True, help="Replace an earlier report; what was measured is used again.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="No progress bar.")
@reading_options
def command(
    synthetic,
    real,
    out,
    holdout,
    train_ids,
    utility,
    cache,
    workers,
    fail_under,
    force,
    as_json,
    quiet,
    reading,
    **options,
):
    """Check a synthetic set against real scans: validity, fidelity, diversity, memorisation, usefulness.

    Every number stands beside what real scans give among themselves, with pass, look or fail and the reason; there is
    no grand score. OUT/report.html is one page that opens offline. It shows slices of your patients, and so does
    OUT/features: keep both where the scans may be kept.

    \b
    Example:
      synth report --synthetic set --real BraTS2021_TrainingData --out checked
      synth report --synthetic set --real train --holdout val --out checked --fail-under look
      synth report --synthetic set --real train --out checked --fail-under memorisation=pass --fail-under 0.8
    """  # noqa: D301 (click needs the real backspace)
    from synth.cli.progress import bar
    from synth.disk.manifest import json_text
    from synth.report.core.config import ReportConfig
    from synth.report.roles import read_ids
    from synth.report.run import PAGE, report
    from synth.report.thresholds import read_thresholds

    bars = read_thresholds(fail_under)
    result = report(
        synthetic,
        opened_as_real(real, reading),
        out,
        holdout=opened_as_real(holdout, reading),
        train_ids=read_ids(train_ids) if train_ids is not None else None,
        utility=utility,
        cache=cache,
        config=ReportConfig(**{key: value for key, value in options.items() if value is not None}),
        force=force,
        workers=workers,
        progress=lambda what: bar(what, "section" if what == "judging" else "case", quiet, lines=True),
    )
    if as_json:
        click.echo(json_text(result.to_dict(), what="the report", indent=1), nl=False)
    else:
        for line in result.lines():
            click.echo(line)
        click.echo(f"{out}/{PAGE}")
    missed = result.below(bars)
    for line in missed:
        click.echo(f"below the bar: {line}.", err=True)
    if missed:
        click.get_current_context().exit(BELOW)
