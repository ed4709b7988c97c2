"""How far a brain is taken from its host, and what that does to privacy and variety: a table and a curve.

python benchmarks/brain_strength.py HOSTS HOLDOUT OUT --n 36    # 1.5 min a strength and more

Paints `n` samples of HOSTS at each strength (0: brains as they are; 1: the standard preset; what lies between takes
that share of its mosaics and of the way of `individual`; 1.4: beyond), at 0 also in the host's own style, as was the
default before, and with gentle and wild. Each set is judged at the level of the image by the report's own checks,
against HOSTS as training and HOLDOUT as hold-out cases. Fidelity and use take `synth report`, `synth utility`.
"""

import argparse
import json
from pathlib import Path

import numpy as np

from synth import open_set
from synth.case import Case, zscored
from synth.hosts.sources import Sources, data_sources
from synth.layout.edits import Individual
from synth.layout.edits.policy import EditPolicy, pick, step
from synth.layout.edits.presets import STANDARD
from synth.layout.layout import bounding_box
from synth.quality.neighbours import LEVELS
from synth.quality.records import Record, store
from synth.quality.thumbnail import PROBE, image_thumbnail, layout_thumbnail
from synth.report.core.nearest import nearest_at
from synth.report.core.sets import Sets
from synth.report.diversity.variety import image_pairs, repeats, variety_check
from synth.report.memorisation.ratio import ratio_check
from synth.report.memorisation.section import closer_check
from synth.runs.generate import GenerateConfig, Generation

ARMS = (  # name, strength or preset, style
    ("gentle", "gentle", None),
    ("0, own style", 0.0, "own"),
    ("0", 0.0, None),
    ("0.5", 0.5, None),
    ("1 (standard)", 1.0, None),
    ("1.4", 1.4, None),
    ("wild", "wild", None),
)
BRAIN = ("mosaic", "individual")


def policy(strength: float) -> EditPolicy:
    """The standard preset with its brains taken so much of their way."""
    rest = [s for s in STANDARD.steps if s.choices[0].edit not in BRAIN]
    if not strength:
        return EditPolicy(tuple(rest))
    mosaic = next(s for s in STANDARD.steps if s.choices[0].edit == "mosaic")
    ranges = {name: tuple(strength * v for v in limits) for name, limits in Individual.options.items()}
    first = step("mosaic", probability=min(1.0, strength * mosaic.probability))
    return EditPolicy((first, step(pick("individual", **ranges)), *rest))


def record(case: Case, folder: Path) -> Record:
    """The thumbnail of a scan, as the report would measure it."""
    box = bounding_box(case.brain)
    image = image_thumbnail(zscored(case.images[box], case.brain[box]), box, case.images.shape[:3])
    brain = layout_thumbnail(case.brain[box].astype(np.uint8), box, case.images.shape[:3])[0]
    store(folder / case.id, PROBE, {"image": image, "brain": brain})
    return Record(case.id, folder / case.id, {PROBE.name: PROBE.version})


def painted(sources: Sources, edits, style: str | None, n: int, folder: Path) -> tuple[list[Record], dict]:
    """Records of `n` samples, and their lineage; `edits` is a strength or a preset."""
    edits = edits if isinstance(edits, str) else policy(edits)
    generation = Generation(sources, config=GenerateConfig(edits=edits, style=style))
    records, lineage = [], {}
    for k in range(n):
        layout, recipe = generation.draw(k)
        case = generation.paint(layout, recipe)
        records.append(record(case, folder))
        lineage[case.id] = {**recipe.to_dict(), **generation.nearness.of(layout, recipe.layout, case)}
    return records, lineage


def judged(records: list[Record], lineage: dict, training: list[Record], holdout: list[Record]) -> dict:
    """The numbers of one set; brains kept by design are judged like all others, to show what keeping them means."""
    real = [*training, *holdout]
    sets = Sets(records, real, training, holdout, lineage={})
    level = nearest_at(LEVELS[0], sets, training, holdout)
    closer, (ratio, _) = closer_check(level), ratio_check(level, 0)
    twins = repeats(sets, records, real)[0]
    variety = variety_check("variety", "", *image_pairs(records, real, 0), 0)
    hosts = np.array([[row["from_host"]["image"], row["from_host"]["tissue"]] for row in lineage.values()])
    count = len(level.different)
    return {
        "closer": f"{round(closer.value * count / 100)} of {count} ({closer.verdict.value})",
        "ratio": f"{ratio.value:.2f} [{ratio.interval[0]:.2f}, {ratio.interval[1]:.2f}] ({ratio.verdict.value})",
        "twins": f"{len(twins.cases)} ({twins.verdict.value})",
        "variety": f"{variety.value:.2f} of {variety.yardstick.median:.2f} ({variety.verdict.value})",
        "from host, image: lowest, median": f"{hosts[:, 0].min():.2f}, {np.median(hosts[:, 0]):.2f}",
        "tissue": f"{hosts[:, 1].min():.2f}, {np.median(hosts[:, 1]):.2f}",
        "two patients": f"{level.real.min():.2f}",
    }


def main() -> None:
    """Paint, judge, print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("hosts", type=Path)
    parser.add_argument("holdout", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--n", type=int, default=36)
    parser.add_argument("--layouts", type=Path, help="where layouts of HOSTS are kept [default: OUT/layouts]")
    options = parser.parse_args()
    sides = []
    for name in ("hosts", "holdout"):
        members = open_set(getattr(options, name), scans=True).members
        sides.append([record(member.read("ignore"), options.out / name) for member in members])
    sources, _ = data_sources(options.hosts, options.layouts or options.out / "layouts")
    table = {}
    for number, (name, edits, style) in enumerate(ARMS):
        records, lineage = painted(sources, edits, style, options.n, options.out / f"arm{number}")
        table[name] = judged(records, lineage, *sides)
        print(name, json.dumps(table[name]), flush=True)
    columns = list(next(iter(table.values())))
    print(f"\n| strength | {' | '.join(columns)} |\n|{'---|' * (len(columns) + 1)}")
    for name, row in table.items():
        print(f"| {name} | {' | '.join(row.values())} |")
    (options.out / "strength.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
