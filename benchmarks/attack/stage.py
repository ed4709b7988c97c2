"""What is attacked: every command that writes, on small phantoms, with networks that cost nothing.

A painter that adds seeded noise to class colours and a segmenter that thresholds scans stand in for the networks, and
tissue is told by brightness: none of that is attacked. Everything else is the package itself: drawing, scores, writers,
manifests, locks, the command line. Commands run in forks of one process that has imported all, so that a blow costs
a third of a second. A second call with the same arguments gives the same bytes.
"""

import contextlib
import json
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from phantoms import head_layout, phantom_case, write_case

from synth.datasets.layout_files import save_layout
from synth.disk.manifest import MANIFEST, RUN
from synth.exporters import open_exporter
from synth.layout.layout import Layout
from synth.style.style import measure_style

SHAPE = (40, 48, 36)
_SECONDS = re.compile(rb'"seconds": [0-9.]+')  # the one thing in an output that time may change
CARD = {
    "generator": {
        "name": "stub",
        "generator": {"width": 8, "bottleneck": 1, "dropout": 0.0, "conditioning": "painted"},
    },
    "segmenter": {"name": "stub", "segmenter": {"arch": "unet3d", "width": 4}, "window": 48},
}


class StubPainter:
    """Colours by class, and noise that is a function of the seed."""

    sees_detail = False

    def __call__(self, layout, style, seed):
        """(x, y, z, 4) as `models.inference.LayoutPainter`."""
        box = layout.bounding_box()
        classes = layout.classes[box]
        table = np.concatenate([np.zeros((1, 4)), np.array(style.mean)]).astype(np.float32)
        noise = np.random.default_rng(seed).normal(0, 0.03, (*classes.shape, 4)).astype(np.float32)
        return np.where(classes[..., None] > 0, table[classes] + noise, 0).astype(np.float32)


class StubSegmenter:
    """Marks what is bright in flair and t1ce; the same for the same scan."""

    def __call__(self, case):
        """(X, Y, Z) uint8."""
        flair, contrast = (case.images[..., m].astype(np.float32) for m in (3, 1))
        high, bright = (np.quantile(a[a > 0], 0.9) for a in (flair, contrast))
        labels = np.where(flair > high, 2, 0).astype(np.uint8)
        labels[(flair > high) & (contrast > bright)] = 3
        return labels

    def labels_in_box(self, case):
        """The whole grid as the box."""
        return tuple(slice(0, n) for n in case.images.shape[:3]), self(case)


def tissue_by_brightness(case):
    """The layout of a phantom, by its t1: finding tissue in scans is not what is attacked."""
    t1, tumour = (
        case.images[..., 0],
        case.labels if case.labels is not None else np.zeros(case.images.shape[:3], np.uint8),
    )
    tissue = np.where(t1 > 0, np.digitize(t1, (375, 625)) + 1, 0).astype(np.uint8)
    return Layout(np.where(tumour > 0, 3, tissue).astype(np.uint8), tumour, case.affine, case.id)


def install(place: Path) -> None:
    """Put the stubs where the package looks for networks, and let cases be as small as the phantoms."""
    import synth.datasets.cases
    import synth.datasets.members
    import synth.hosts.extract
    import synth.models
    import synth.models.ensembles
    import synth.quality.embedding
    import synth.quality.prepared
    import synth.report.core.measuring
    from synth.quality.probes import Probe

    runtime, weights = types.ModuleType("synth.models.runtime"), types.ModuleType("synth.models.weights")
    runtime.kernels, runtime.repeatable, runtime.one_at_a_time = (lambda: "stub"), (lambda: None), threading.Lock()
    runtime.give_back, runtime.versions = (lambda: None), (lambda: {})
    runtime.take_place = lambda threads, number: None
    runtime.FLOAT32, runtime.precision = "float32", lambda: "float32"
    weights.load_generator = lambda model: (StubPainter(), CARD["generator"])
    sys.modules.update({"synth.models.runtime": runtime, "synth.models.weights": weights})
    synth.models.runtime, synth.models.weights = runtime, weights
    for kind, card in CARD.items():
        (place / kind).mkdir()
        (place / kind / "card.json").write_text(json.dumps({**card, "weights_sha256": "0" * 64}))

    def segmenter(model=None, **options):
        return StubSegmenter(), [json.loads((place / "segmenter/card.json").read_text())]

    import synth.runs.gate
    import synth.runs.segmenting

    for module in (synth.models.ensembles, synth.runs.gate, synth.runs.segmenting, synth.quality.embedding):
        module.load_segmenter = segmenter
    synth.datasets.members.GRID = synth.datasets.cases.GRID = SHAPE
    for module in (synth.hosts.extract, synth.quality.prepared):
        module.extract_layout = tissue_by_brightness

    def embedding(prepared):
        rng = np.random.default_rng(int(sha256(prepared.case.images.tobytes()).hexdigest()[:8], 16))
        arrays = {name: rng.normal(size=8).astype(np.float32) for name in ("fine", "middle", "deep", "tumour")}
        return {**arrays, "pooled": np.concatenate(list(arrays.values()))}

    dice = Probe("dice", "stub", lambda prepared: {"dice": np.full(3, 0.8, np.float32)})
    synth.quality.embedding.probes = lambda model: (dice, Probe("embedding", "stub", embedding))
    if "synth.report.build" in sys.modules:  # what draws charts for seconds, or needs brains of true size
        for name in ("fidelity", "paired", "diversity", "memorisation", "usefulness"):
            sys.modules["synth.report.build"].SECTIONS.pop(name, None)


def furnish(place: Path) -> None:
    """The inputs of all commands below `place`: layouts with styles, real cases, a painted set."""
    for seed in range(3):
        case_id = f"Head_{seed:03d}"
        layout = head_layout(SHAPE, seed=seed, case_id=case_id)
        save_layout(layout, place / "layouts", measure_style(phantom_case(SHAPE, seed=seed, case_id=case_id), layout))
    for seed in range(4):
        write_case(place / "real", phantom_case(SHAPE, seed=seed, case_id=f"Real_{seed:03d}"))
    painted_set(place / "set", 3)


def painted_set(folder: Path, n: int, form: str = "nifti") -> Path:
    """A set as `synth generate` leaves it, of phantoms, each with the lineage of a real one."""
    records = []
    with open_exporter(form, folder) as exporter:
        for k in range(n):
            case = phantom_case(SHAPE, seed=100 + k, case_id=f"Synth_{k:05d}")
            lineage = {"index": k, "id": case.id, "host": f"Real_{k:03d}", "donor": None, "seed": 7, "edits": []}
            records.append({**lineage, "files": exporter.write(case)})
    settings = {"synth": "0", "format": form, "naming": "brats2020", "n": n, "seed": 7}
    (folder / RUN).write_text(json.dumps({**settings, "model": {"name": "default", "hash": "abc123"}}))
    (folder / MANIFEST).write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    return folder


@dataclass(frozen=True)
class Command:
    """A command that writes a folder.

    Attributes:
        name: in tables.
        line: its arguments; `{out}` is the folder.
        again: what is added when it goes on after a blow.
    """

    name: str
    line: str
    again: str = "--resume"

    def arguments(self, out: Path, again: bool = False) -> list[str]:
        """As `main` takes them."""
        return [*self.line.format(out=out).split(), *(self.again.split() if again else ())]


GENERATE = (
    "generate --n 3 --seed 5 --edits gentle --data layouts --model generator --segmenter segmenter --quiet --out {out}"
)
FURNITURE = {  # what is made by a command before others are attacked: folder -> command
    "painted": GENERATE,
    "shard0": GENERATE + " --shard 0/2",
    "shard1": GENERATE + " --shard 1/2",
}
COMMANDS = (
    Command("generate", GENERATE),
    Command("generate hdf5", GENERATE + " --format hdf5"),
    Command("layouts sample", "layouts sample --n 3 --seed 5 --edits gentle --data layouts --quiet --out {out}"),
    Command("layouts extract", "layouts extract real {out} --quiet", again=""),
    Command("segment", "segment real {out} --model segmenter --quiet"),
    Command(
        "report",
        "report --synthetic set --real real --train-ids Real_000,Real_001 --segmenter segmenter --viewer 0 --quiet "
        "--out {out}",
        "--force",
    ),
    Command("export", "export set {out} --to nnunet --real real --quiet"),
    Command("reconstruct", "reconstruct real {out} --model generator --quiet", "--force"),
    Command("merge", "merge shard0 shard1 {out} --quiet"),
    Command("replay", "replay painted --id 0 --model generator --data layouts --out {out} --quiet", "--force"),
)


def main_in(place: Path, arguments: list[str]) -> int:
    """Run a command line in a folder, in this process; its exit code."""
    from synth.cli import main

    os.chdir(place)
    try:
        main(arguments, prog_name="synth")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def tree(folder: Path) -> dict[str, str]:
    """Checksum of every file below a folder by name, hidden ones too; timings taken out of what is timed."""
    out = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() or path.is_symlink():
            content = path.read_bytes() if path.is_file() else b""
            out[str(path.relative_to(folder))] = sha256(_SECONDS.sub(b"", content)).hexdigest()
        elif not any(path.iterdir()):
            out[f"{path.relative_to(folder)}/"] = "an empty folder"
    return out


@contextlib.contextmanager
def silence(to: Path) -> Iterator[None]:
    """Send standard output and error of this process to a file."""
    with open(to, "wb") as sink:
        os.dup2(sink.fileno(), 1)
        os.dup2(sink.fileno(), 2)
        yield


Blow = Callable[[], None]
