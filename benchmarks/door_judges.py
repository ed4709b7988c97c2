"""How many wrong cases made on purpose the judges of voxels find, and how often they object to real ones.

    python benchmarks/door_judges.py DATA [--cases N]   # DATA has brats/train, brats/val and labels/full

Every kind is made from each real case: names permuted (all 23 ways), a modality replaced by another with its grey
levels changed, a head around the brain, one modality moved by 3 mm or mirrored. Label orders are judged over sets:
all cases, random dozens, and dozens swapped within a set. Nothing here fits anything.
"""

import argparse
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy.ndimage import distance_transform_edt

from synth.brats import MODALITIES, NAMINGS
from synth.datasets.cases import find_cases, read_case
from synth.datasets.voxels.alignment import judge_alignment
from synth.datasets.voxels.judge import judge_case
from synth.datasets.voxels.label_order import LabelFacts, judge_label_order, label_surface
from synth.datasets.voxels.modalities import ORDERS, judge_modalities
from synth.datasets.voxels.sample import sample
from synth.datasets.voxels.skull import judge_skull

AXIAL = [(3, 0, 0), (-3, 0, 0), (0, 3, 0), (0, -3, 0), (0, 0, 3), (0, 0, -3)]
OBLIQUE = [(a, b, c) for a, b, c in np.ndindex(5, 5, 5) if (a - 2) ** 2 + (b - 2) ** 2 + (c - 2) ** 2 == 9]
SWAPS = {"NCR/ED": (1, 0, 2), "ET/ED": (0, 2, 1), "NCR/ET": (2, 1, 0), "cyclic a": (1, 2, 0), "cyclic b": (2, 0, 1)}
DRAWS = 300  # random sets of a size


class Tally:
    """Found and made of each kind, for training and validation cases apart."""

    def __init__(self):
        self.rows = defaultdict(lambda: defaultdict(list))

    def add(self, kind: str, part: str, found: bool) -> None:
        """One case, or set."""
        self.rows[kind][part].append(bool(found))

    def show(self) -> None:
        """Print a row for each kind."""
        for kind, parts in self.rows.items():
            cells = [f"{part} {sum(got):4} of {len(got):4} ({np.mean(got):.3f})" for part, got in parts.items()]
            print(f"{kind:52} {'   '.join(cells)}")


def moved(image: np.ndarray, by) -> np.ndarray:
    """`image` by whole voxels, 0 where nothing comes from."""
    out = np.zeros_like(image)
    to = tuple(slice(max(0, d), n - max(0, -d)) for d, n in zip(by, image.shape, strict=True))
    source = tuple(slice(max(0, -d), n - max(0, d)) for d, n in zip(by, image.shape, strict=True))
    out[to] = image[source]
    return out


@contextmanager
def with_modality(images: np.ndarray, m: int, image: np.ndarray) -> Iterator[np.ndarray]:
    """The case with one modality replaced, for a while."""
    kept = images[..., m].copy(order="F")
    images[..., m] = image
    yield images
    images[..., m] = kept


def recoloured(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The scan under another contrast: a bent scale, at times inverted, and a little noise."""
    brain = image > 0
    top = np.percentile(image[brain], 99.8)
    values = np.clip(image / top, 0, 1) ** rng.choice([0.5, 0.7, 1.5, 2.0])
    if rng.random() < 0.3:
        values = 1.02 - values
    values = values + rng.normal(0, 0.005, image.shape)
    return np.where(brain, np.clip(np.rint(values * rng.uniform(300, 3000)), 1, None), 0).astype(np.int16)


def heads(images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """All four with the head around the brain: dark bone, then bright and dark scalp; 2.5 to 3.7 l in all."""
    brain = (images != 0).any(-1)
    small = distance_transform_edt(~brain[::2, ::2, ::2])
    litres = rng.uniform(2.5, 3.7)
    outer = np.sort(small, axis=None)[round(litres * 1e6 / 8)]
    distance = small.repeat(2, 0).repeat(2, 1).repeat(2, 2)[tuple(slice(0, n) for n in brain.shape)]
    shell = (distance <= outer) & ~brain
    bone = distance < 0.4 * outer
    out = images.copy(order="F")
    for m in range(images.shape[-1]):
        middle = np.median(images[..., m][brain][::50])
        level = np.where(bone[shell], 0.15, rng.uniform(0.5, 2.5)) * rng.gamma(4, 0.25, np.count_nonzero(shell))
        out[..., m][shell] = np.maximum(np.rint(level * middle), 1)
    return out


def judged_wrong(tally: Tally, part: str, case, rng: np.random.Generator) -> None:
    """Every kind made from one case."""
    images, brain = case.images, case.brain
    seen = sample(images)
    for order in ORDERS[1:]:
        changed = [m for m in range(4) if order[m] != m]
        named = replace(seen, images=tuple(seen.images[m] for m in order))
        found = {v.modalities[0] for v in judge_modalities(named) if v.kind == "modality"}
        kind = "names " + (
            "-".join(MODALITIES[m] for m in changed) if len(changed) == 2 else f"of {len(changed)} permuted"
        )
        tally.add(kind, part, found == {MODALITIES[m] for m in changed})
    for m in range(4):
        other = int(rng.choice([k for k in range(4) if k != m]))
        with with_modality(images, m, recoloured(images[..., other], rng)) as made:
            found = {v.modalities for v in judge_case(made) if v.kind == "copy"}
        copied = tuple(MODALITIES[k] for k in sorted((m, other)))
        tally.add("one modality twice, grey levels changed", part, found == {copied})
    head = heads(images, rng)
    found = [v.modalities[0] for v in judge_case(head) if v.kind == "skull"]
    tally.add("skull in all", part, found == [*MODALITIES])
    for m, name in enumerate(MODALITIES):
        with with_modality(images, m, head[..., m]) as made:
            found = [v.modalities for v in judge_case(made)]
        tally.add("skull in one, which", part, found == [(name,)])
    for m, name in enumerate(MODALITIES):
        oblique = tuple(int(v) - 2 for v in OBLIQUE[rng.integers(len(OBLIQUE))])
        for by in (*AXIAL, oblique):
            way = "oblique" if by == oblique else "along the body" if by[2] else "in the plane"
            image = moved(images[..., m], by)
            for masked in (True, False) if by[2] else (True,):
                with with_modality(images, m, image * brain if masked else image) as made:
                    verdicts = {v.modalities[0]: v for v in judge_alignment(sample(made)) if v.kind == "shift"}
                kind = f"3 mm {way}, {'re-masked' if masked else 'with its mask'}"
                tally.add(kind, part, name in verdicts)
                tally.add(f"{kind}: sure", part, name in verdicts and verdicts[name].sure)
                tally.add(f"{kind}: another named", part, verdicts.keys() - {name})
        image = moved(images[::-1, ..., m], (-1, 0, 0))
        for masked in (True, False):
            with with_modality(images, m, image * brain if masked else image) as made:
                found = [v.modalities[0] for v in judge_alignment(sample(made)) if v.kind == "mirror"]
            tally.add(f"mirrored, {'re-masked' if masked else 'with its mask'}", part, found == [name])


def judged_true(tally: Tally, part: str, case) -> dict[str, float]:
    """The untouched case: alarms counted, ms of processor time of each judge returned."""
    spent = {}

    def timed(name, judge, *given):
        start = time.process_time()
        out = judge(*given)
        spent[name] = 1000 * (time.process_time() - start)
        return out

    seen = timed("sample", sample, case.images)
    verdicts = timed("skull", judge_skull, seen)
    verdicts += timed("modalities", judge_modalities, seen)
    verdicts += timed("alignment", judge_alignment, seen)
    timed("labels", label_surface, case.labels, case.images)
    tally.add("REAL: alarms, sure", part, any(v.sure for v in verdicts))
    tally.add("REAL: alarms, doubts", part, any(not v.sure for v in verdicts))
    for verdict in verdicts:
        print(f"  {case.id}: {verdict.modalities} {'' if verdict.sure else '(doubt) '}{verdict.text}")
    return spent


def swapped(facts: LabelFacts, order) -> LabelFacts:
    """The facts of a map whose labels were written in another order."""

    def turn(values):
        return None if values is None else tuple(values[k] for k in order)

    return LabelFacts(turn(facts.voxels), turn(facts.surface), turn(facts.t1ce))


def judged_labels(tally: Tally, part: str, facts: list[LabelFacts], rng: np.random.Generator) -> None:
    """Whole sets and random parts of them, true and swapped."""
    without = [replace(fact, t1ce=None) for fact in facts]
    for size in sorted({n for n in (2, 3, 5, 12) if n < len(facts)} | {len(facts)}):
        draws = [rng.choice(len(facts), size, replace=False) for _ in range(DRAWS if size < len(facts) else 1)]
        for draw in draws:
            true = judge_label_order([facts[i] for i in draw])
            tally.add(f"REAL: label sets of {size}, alarms", part, true)
            for name, order in SWAPS.items():
                if size in (2, 3, 5) and name != "NCR/ED":
                    continue
                chosen = facts if name == "NCR/ET" else without
                if name == "NCR/ET" and not any(fact.t1ce for fact in facts):
                    continue
                found = judge_label_order([swapped(chosen[i], order) for i in draw])
                tally.add(f"labels {name}, sets of {size}", part, any(v.kind == "order" for v in found))
    for _ in range(DRAWS if len(facts) > 12 else 0):
        some = set(rng.choice(len(facts), 12, replace=False).tolist())
        found = judge_label_order([swapped(f, SWAPS["NCR/ED"]) if i in some else f for i, f in enumerate(without)])
        named = {i for v in found for i in (v.cases or range(len(facts)))}
        tally.add("labels NCR/ED, a dozen within the set", part, bool(found))
        tally.add("labels NCR/ED, a dozen within the set: no other named", part, bool(found) and named <= some)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--cases", type=int, help="only so many of each part")
    given = parser.parse_args()
    tally, spent, rng = Tally(), [], np.random.default_rng(13)
    facts = []
    for part in ("train", "val"):
        for files in find_cases(given.data / "brats" / part)[: given.cases]:
            case = read_case(files)
            spent.append(judged_true(tally, part, case))
            facts.append(label_surface(case.labels, case.images))
            judged_wrong(tally, part, case, rng)
    judged_labels(tally, "cases", facts, rng)
    full = []
    for path in sorted((given.data / "labels" / "full").iterdir()):
        values = np.asanyarray(nib.load(path).dataobj).astype(np.uint8)
        full.append(label_surface(NAMINGS["brats2020"].from_disk(values)))
    judged_labels(tally, "full", full, rng)
    tally.show()
    times = {name: np.median([row[name] for row in spent]) for name in spent[0]}
    print("ms of processor time a case:", ", ".join(f"{name} {value:.0f}" for name, value in times.items()))


if __name__ == "__main__":
    main()
