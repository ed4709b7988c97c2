"""`synth check`: what a dataset folder holds and everything that is wrong with it."""

import json
from functools import partial
from statistics import median

import click

from synth.cli.options import opened, reading_options


@click.command(name="check")
@click.argument("data", type=click.Path())
@click.option("--no-labels", is_flag=True, help="Cases need no segmentation; those that are there are checked anyway.")
@click.option("--strict", is_flag=True, help="Warnings fail too: exit code 1.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report as JSON.")
@click.option("--quiet", "-q", is_flag=True, help="Print the problems only: no summary, no progress bar.")
@reading_options
@click.pass_context
def command(ctx, data, no_labels, strict, as_json, quiet, reading):
    """Read every BraTS case below the folder DATA; say what it holds and every problem.

    Each problem is one line; what is wrong with many files alike is one line with their number (--json has them all).

    Files may be .nii.gz or .nii, named as in BraTS 2017-2021 (ID_t1, ID_t1ce, ID_t2, ID_flair, ID_seg) or as from
    2023 on (ID-t1n, ID-t1c, ID-t2w, ID-t2f, ID-seg), in nested folders as you like. Nothing is changed.

    The exit code is 1 if any case has an error; warnings alone leave it 0, but with --strict.

    \b
    Example:
      synth check BraTS2021_TrainingData
      synth check validation --no-labels --json > report.json
    """  # noqa: D301 (click needs the real backspace)
    from tqdm import tqdm

    from synth.datasets.check import check_dataset

    progress = partial(tqdm, desc="checking", unit="case", disable=True if quiet else None, leave=False)
    report = check_dataset(opened(data, reading), labels="optional" if no_labels else "required", progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_dict(), indent=1))
    else:
        for line in _problems(report) if quiet else [*_summary(report), *_problems(report), _verdict(report)]:
            click.echo(line)
    if report.errors or (strict and report.warnings):
        ctx.exit(1)


def _summary(report) -> list[str]:
    """What the folder holds: cases, names, segmentations, volumes."""
    from synth.brats import NAMINGS

    cases = report.cases
    names = []
    for naming in NAMINGS.values():
        if n := sum(case.naming == naming.name for case in cases):
            names.append(f"{n} named as in BraTS {naming.years}")
    labelled = sum(case.labelled for case in cases)
    read = [case for case in cases if case.brain_ml is not None]
    tumours = [case.tumour_ml for case in read if case.tumour_ml is not None]
    diseased = [volumes for volumes in tumours if volumes["WT"] > 0]
    lines = [
        f"{report.folder}: {_count(len(cases), 'case')}",
        f"  names         {', '.join(names)}",
        f"  segmentation  {labelled} with, {len(cases) - labelled} without",
    ]
    if read:
        lines.append(f"  brain         {_volumes([case.brain_ml for case in read])}")
    if tumours:
        healthy = len(tumours) - len(diseased)
        aside = f", {healthy} healthy (all labels 0)" if healthy else ""
        lines.append(f"  tumour        {_volumes([volumes['WT'] for volumes in diseased])}{aside}")
        for key in ("NCR", "ED", "ET"):
            present = [volumes[key] for volumes in diseased if volumes[key] > 0]
            lines.append(f"    {key:<12}{_volumes(present)}")
    return lines


def _volumes(values: list[float]) -> str:
    """Median, range and number of some volumes in ml."""
    if not values:
        return "in no case"
    extent = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{median(values):.4g} ml{extent} in {_count(len(values), 'case')}"


def _problems(report) -> list[str]:
    from synth.datasets.findings import folded

    return folded((*report.errors, *report.warnings))


def _verdict(report) -> str:
    if not report.findings:
        return "No problem found."
    spoilt = {finding.case for finding in report.errors}
    usable = sum(case.id not in spoilt for case in report.cases)
    counts = f"{_count(len(report.errors), 'error')} and {_count(len(report.warnings), 'warning')}"
    return f"{counts}; {usable} of {_count(len(report.cases), 'case')} usable."


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"
