"""Reconstruction: each case's own layout painted in its own style, beside the real scan: the paired check."""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from synth.brats import MODALITIES
from synth.case import Case
from synth.datasets.findings import folded_lines
from synth.datasets.inspection import Inspection
from synth.datasets.sets import CaseSet, open_set
from synth.disk.claim import RECONSTRUCT, claim
from synth.disk.files import atomic_write, make_folder
from synth.disk.json_files import TEXT, Schema, fields, listed, mapped, read
from synth.errors import OutputError, SynthError
from synth.exporters import open_exporter
from synth.hosts.extract import layout_and_style
from synth.layout.detail import bits_a_voxel
from synth.layout.layout import Layout
from synth.quality.fine import BANDS, fine_ratios
from synth.quality.similarity import healthy_tissue, painter_image, psnr, scaled, ssim_map, texture_ratio
from synth.runs.painted_case import to_case
from synth.show.contact_sheet import ContactSheet
from synth.style.scale import Window, moved, paired_window, recorded_window
from synth.style.style import Style

if TYPE_CHECKING:
    from synth.models.inference import LayoutPainter

RESULTS = "reconstruct.json"
_SCALE = fields({"real": {"type": "array"}, "written": {"type": "array"}})
_RESULTS = Schema(
    "what `synth reconstruct` wrote",
    fields({"comparisons": listed(fields({"case": TEXT}))}, {"scales": mapped(_SCALE)}),
)
SHEET = "contact_sheet.png"


@dataclass(frozen=True)
class Comparison:
    """One case and modality: the generator, and the plain painter, against the real scan inside the brain.

    SSIM (7x7x7 windows) and PSNR in dB with the scan scaled by its own 0.5 and 99.5 percentiles in the brain; texture
    is the ratio of the 20th percentiles of the local standard deviation in healthy tissue (1 is right; the painter
    has none). None where a number is undefined: texture where the real scan has none, PSNR where the two are equal.
    `fine` are ratios of fine structure (`quality.fine.fine_ratios`). `bits` is what the layout holds, bits a voxel of
    the brain, and `bits_detail` the part of it that is detail, 0 for a generator that sees none: nearness to the scan
    is in part what the layout was told of it.
    """

    case: str
    modality: str
    ssim: float
    ssim_painter: float
    psnr: float | None
    psnr_painter: float | None
    texture: float | None
    fine: dict[str, float | None] = field(default_factory=dict)
    bits: float | None = None
    bits_detail: float | None = None


@dataclass(frozen=True)
class Scale:
    """The intensities that 0 and 1 stand for in a real scan and in its reconstruction, where these are not the same."""

    real: Window
    written: Window


def compare(real: Case, painted: Case, layout: Layout) -> list[Comparison]:
    """Compare a painted case with the real scan, on one scale (`style.scale.moved`), one entry per modality."""
    box = layout.bounding_box(4)
    classes = layout.classes[box]
    brain, healthy = classes > 0, healthy_tissue(classes)
    finer = 0.0 if layout.detail is None else bits_a_voxel(layout.detail.layers, layout.brain)
    bits = finer + bits_a_voxel((layout.tissue, layout.tumour), layout.brain)
    rows = []
    for m, name in enumerate(MODALITIES):
        truth = real.images[..., m][box]
        x = scaled(truth, truth, brain)
        y = scaled(painted.images[..., m][box], truth, brain)
        flat = painter_image(x, classes)
        rows.append(
            Comparison(
                case=real.id,
                modality=name,
                ssim=float(ssim_map(x, y)[brain].mean()),
                ssim_painter=float(ssim_map(x, flat)[brain].mean()),
                psnr=_defined(psnr(x, y, brain)),
                psnr_painter=_defined(psnr(x, flat, brain)),
                texture=_defined(texture_ratio(y, x, healthy)),
                fine={name: _defined(ratio) for name, ratio in fine_ratios(x, y, brain).items()},
                bits=bits,
                bits_detail=finer,
            )
        )
    return rows


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def reconstruct_case(case: Case, painter: "LayoutPainter", seed: int = 0) -> tuple[Case, Layout, Style]:
    """Paint a case's own layout in its own style; with its detail, where the generator is conditioned on that.

    Args:
        case: a real scan.
        painter: from `models.weights.load_generator`.
        seed: of the noise.

    Returns:
        The painted case (same id, labels and affine), the layout and the style it was painted from. It is written on
        the style's `paired_window`.
    """
    layout, style = layout_and_style(case, detail=painter.sees_detail)
    noise = np.random.default_rng(seed).integers(2**31 - 1, size=2)
    image = painter(layout, style, (int(noise[0]), int(noise[1])))
    return to_case(case.id, layout, image, paired_window(style)), layout, style


def reconstruct(
    data: str | Path | CaseSet,
    out: str | Path,
    *,
    model: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Callable = iter,
    tell: Callable[[str], None] = lambda line: None,
) -> list[Comparison]:
    """Reconstruct every case of a dataset below `out` (its own naming), with `reconstruct.json` and a contact sheet.

    A modality is written on the real scan's own scale where that suits int16 (`style.scale.paired_window`); of the
    others `reconstruct.json` says what scale was chosen (`scales_of`), and they are compared on that. `tell` is called
    with each warning about the scans.
    The contact sheet has each real case above its reconstruction: it shows patients, keep it with the dataset.

    Raises:
        OutputError: `out` is not empty and `force` is not given, it lies among the scans, or is another command's.
        SynthError: a case cannot be read or painted, has no labels without being stated to be healthy
            (`Reading.healthy`), or there is no such model.
    """
    from synth.models.weights import load_generator

    out, cases = Path(out), open_set(data, scans=True)
    claim(out, RECONSTRUCT, force=force, apart=("the scans", data))
    earlier = _keep_off(cases, out)
    namings = {member.naming.name for member in cases.members}
    if len(namings) > 1:
        raise SynthError(f"{data}: holds cases named in {len(namings)} ways; reconstruct one naming at a time.")
    painter, card = load_generator("default" if model is None else model)
    sheet, rows, scales, begin = ContactSheet(len(cases)), [], {}, time.perf_counter()
    inspection, said = Inspection(cases.path, cases.reading), []
    with ExitStack() as stack:
        exporter = stack.enter_context(open_exporter("nifti", out, naming=cases.members[0].naming))
        # which folders are its own, said before there are any: after a kill they are known again
        to_come = sorted(earlier | {member.id for member in cases.members})
        _save({"comparisons": [{"case": case} for case in to_come], "unfinished": True}, out)
        for member in progress(cases.members):
            real = member.read("required")
            inspection.see(real.id, real.labels, real.images)
            said += [(real.id, line) for line in real.meta.get("warnings", ())]
            painted, layout, style = reconstruct_case(real, painter, seed)
            exporter.write(painted)
            scale = Scale(style.window, paired_window(style))
            if scale.real != scale.written:
                scales[real.id] = vars(scale)
            real = moved(real, scale.real, scale.written)
            rows += compare(real, painted, layout)
            sheet.add_pair(real, painted)
    sheet.save(out / SHEET)
    record = {
        "model": card["name"],
        "seed": seed,
        "seconds": round(time.perf_counter() - begin, 1),
        "comparisons": [vars(row) for row in rows],
        **({"scales": scales} if scales else {}),
    }
    _save(record, out)
    for line in [*folded_lines(said), *(note.message for note in inspection.findings())]:
        tell(line)
    return rows


def _save(results: dict, out: Path) -> None:
    make_folder(out)
    with atomic_write(out / RESULTS) as handle:
        handle.write((json.dumps(results, indent=1) + "\n").encode())


def scales_of(folder: str | Path) -> dict[str, Scale]:
    """The scales of the reconstructions in a folder that are not on their scan's own, by id; none anywhere else.

    Raises:
        SynthError: the folder's `reconstruct.json` is damaged.
    """
    path = Path(folder) / RESULTS
    if not path.is_file():
        return {}
    try:
        scales = read(path, _RESULTS).get("scales", {})
        return {
            case: Scale(recorded_window(scale["real"]), recorded_window(scale["written"]))
            for case, scale in scales.items()
        }
    except (OSError, ValueError, KeyError, TypeError, SynthError) as error:
        raise SynthError(
            f"{path}: expected what `synth reconstruct` wrote ({error}); reconstruct the cases again."
        ) from error


def _keep_off(cases: CaseSet, out: Path) -> set[str]:
    """Refuse an output in which a case's folder is not one of an earlier reconstruction: it would be replaced whole.

    Returns the ids of the earlier ones.
    """
    try:
        earlier = {row["case"] for row in read(out / RESULTS, _RESULTS)["comparisons"]}
    except (OSError, ValueError):
        earlier = set()
    for member in cases.members:
        place = out / member.id
        if member.path.resolve().is_relative_to(place.resolve()):
            raise OutputError.unexpected(place, "a new folder", "the scans themselves", "choose another folder")
        if os.path.lexists(place) and member.id not in earlier:
            found = f"a folder that {RESULTS} does not know"
            raise OutputError.unexpected(place, "a new folder or an earlier reconstruction", found, "choose another")
    return earlier


def summary_lines(rows: Sequence[Comparison]) -> list[str]:
    """Two tables of means and medians over the cases, what was left out, and how much of the scans layouts hold."""
    lines = [f"{'':15}{'SSIM':>8}{'painter':>9}{'PSNR dB':>9}{'painter':>9}{'texture':>9}"]
    for name in MODALITIES:
        part = [row for row in rows if row.modality == name]
        for kind, middle in (("mean", np.mean), ("median", np.median)):
            cells = [_cell([getattr(row, key) for row in part], middle, *form) for key, *form in _COLUMNS]
            lines.append(f"{name:8}{kind:7}{''.join(cells)}")
    return [*lines, *_left_out(rows), *_fine_lines(rows), *_held(rows)]


_COLUMNS = (("ssim", 3, 8), ("ssim_painter", 3, 9), ("psnr", 2, 9), ("psnr_painter", 2, 9), ("texture", 2, 9))
_FINE = {f"power_{low:g}": f"{low:g}-{high:g}" for low, high in BANDS} | {
    "gradient": "gradient",
    "kurtosis": "kurtosis",
}
_UNDEFINED = {  # why a number may be None
    "psnr": "PSNR, equal to the real scan",
    "psnr_painter": "the painter's PSNR, equal to the real scan",
    "texture": "texture, where the real scan has none",
}


def _cell(values: Sequence[float | None], middle: Callable, digits: int, width: int) -> str:
    known = [value for value in values if value is not None]
    return f"{middle(known):{width}.{digits}f}" if known else f"{'-':>{width}}"


def _fine_lines(rows: Sequence[Comparison]) -> list[str]:
    """A table of the medians of fine structure, painted over real."""
    names = [name for name in _FINE if any(name in row.fine for row in rows)]
    if not names:
        return []
    lines = ["fine structure, painted over real, medians (power by waves a mm):"]
    lines.append(f"{'':15}{''.join(f'{_FINE[name]:>10}' for name in names)}")
    for modality in MODALITIES:
        part = [row.fine for row in rows if row.modality == modality]
        lines.append(
            f"{modality:15}{''.join(_cell([fine.get(name) for fine in part], np.median, 2, 10) for name in names)}"
        )
    return lines


def _held(rows: Sequence[Comparison]) -> list[str]:
    """What the layouts hold of the scans, as a line."""
    known = [(row.bits, row.bits_detail or 0.0) for row in rows if row.bits is not None]
    if not known:
        return []
    bits, finer = np.median(known, 0)
    detail = f"{finer:.1f} of them detail" if finer else "no detail"
    return [f"layouts hold {bits:.1f} bits a voxel of their scans ({detail}): so much of the likeness was told."]


def _left_out(rows: Sequence[Comparison]) -> list[str]:
    """A line for each number that is undefined in some cases, with counts."""
    lines = []
    for key, why in _UNDEFINED.items():
        counts = {name: sum(row.modality == name and getattr(row, key) is None for row in rows) for name in MODALITIES}
        if told := ", ".join(f"{name} in {n}" for name, n in counts.items() if n):
            lines.append(f"left out of {len(rows) // len(MODALITIES)} cases as undefined ({why}): {told}.")
    return lines
