"""From a dozen scans to a synthetic set and a report that says whether it may be trained on.

    python examples/from_scans_to_report.py --data BraTS2021_TrainingData --n 20 --out tried

Layouts and styles are found in the scans (3 s each, kept in `tried/layouts`), edited, painted (`tried/set`, with a
contact sheet) and compared with the scans (`tried/report/report.html`). Without --data, a few samples of the embedded
anatomies stand in for the scans, to show the way: what the report says then is worth nothing.
"""

import argparse
from pathlib import Path

from synth import (
    GenerateConfig,
    Generation,
    ReportConfig,
    data_sources,
    embedded_sources,
    generate,
    open_set,
    write_report,
)


def stand_ins(folder: Path, n: int, model: str | None) -> Path:
    """A few painted samples in place of scans."""
    print(f"no --data: {n} painted samples of the embedded anatomies stand in for scans", flush=True)
    generate(Generation(embedded_sources(), model, GenerateConfig(seed=1)), n, folder)
    return folder


def main(arguments: list[str] | None = None) -> None:
    """Generate from the scans, and report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of BraTS cases, with labels [default: stand-ins]")
    parser.add_argument("--model", help="name or folder of the generator that paints [default: the packaged one]")
    parser.add_argument("--segmenter", default="default", help="name or folder of the segmenter that judges")
    parser.add_argument("--n", type=int, default=3, help="how many samples, and stand-ins where there are no data")
    parser.add_argument("--edits", default="standard", help="a preset, a policy file, or edits by comma")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("tried"), help="a new folder")
    options = parser.parse_args(arguments)

    scans = options.data or stand_ins(options.out / "stand-ins", options.n, options.model)
    print(f"{len(open_set(scans, scans=True))} scans in {scans}", flush=True)

    sources, problems = data_sources(scans, options.out / "layouts")
    for problem in problems:
        print(f"left out: {problem}")
    generation = Generation(sources, options.model, GenerateConfig(seed=options.seed, edits=options.edits))
    print(generate(generation, options.n, options.out / "set").sentence(), flush=True)

    config = ReportConfig(segmenter=options.segmenter, viewer=1)
    report = write_report(options.out / "set", scans, options.out / "report", config=config)
    print("\n".join(report.lines()))
    print(options.out / "report" / "report.html")


if __name__ == "__main__":
    main()
