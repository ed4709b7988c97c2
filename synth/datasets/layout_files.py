"""Layouts on the disk: `<id>/<id>_{tissue,tumour}.nii.gz` and, where they were measured, `<id>_style.json`.

Where a layout has detail, a file for each of `layout.detail.MAPS` holds it, uint8 like the others.

Of a layout found in a scan, `<id>_scan.json` keeps the scan's fingerprint, and whom a painted one descends from: a file
of its own, since a run's record has the checksums of styles.
"""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import nibabel as nib
import numpy as np

from synth.brats import AFFINE, Tissue, Tumour
from synth.datasets.fingerprint import Fingerprint
from synth.datasets.volume import Volume, read_volume, same_place
from synth.disk.files import atomic_write, case_path, make_folder
from synth.disk.json_files import TEXT, Schema, listed, mapped, read
from synth.disk.manifest import records_of
from synth.errors import FileError, LayoutError, OutputError, SynthError
from synth.exporters.nifti import PROVENANCE, write_nifti
from synth.layout.detail import MAPS as DETAIL
from synth.layout.detail import MIXED, Detail
from synth.layout.layout import Layout
from synth.lineage import ancestors
from synth.style.style import Style

MAPS: dict[str, type[IntEnum]] = {"tissue": Tissue, "tumour": Tumour}
_STYLE = Schema("a style", {"type": "object"})
_SCAN = Schema("what is known of a scan", mapped(listed(TEXT)))
_AXES = "".join(nib.aff2axcodes(AFFINE))


@dataclass(frozen=True)
class FolderSource:
    """A layout in a folder written by `save_layout`, and its record where a manifest lies beside it."""

    path: Path
    record: dict | None = None

    @property
    def id(self) -> str:
        """The layout's id: the folder's name."""
        return self.path.name

    def load(self) -> Layout:
        """Read the layout."""
        return load_layout(self.path)

    def detail(self, tones: bool = True) -> Detail | None:
        """Read its detail; None where there is none."""
        return load_detail(self.path, tones)

    @property
    def fingerprint(self) -> Fingerprint:
        """Of the scan that it was found in; empty where that is not known."""
        return load_fingerprint(self.path)

    @property
    def ancestors(self) -> frozenset[str] | None:
        """The patients that it descends from, where it was drawn or found in a painted scan; None for a patient's."""
        return load_ancestors(self.path) if self.record is None else ancestors(self.record)


def save_layout(
    layout: Layout,
    folder: str | os.PathLike,
    style: Style | None = None,
    source: str = "",
    scan: Fingerprint = (),
    descent: frozenset[str] | None = None,
    warnings: Sequence[str] = (),
    synthetic: bool = False,
) -> Path:
    """Write `<id>_tissue.nii.gz` and `<id>_tumour.nii.gz` (and detail and style) into `folder/<id>/`; return it.

    All maps are uint8 NIfTI that any viewer opens; each file appears under its name only when complete. `source`
    is kept beside the style: what the layout was made from. `scan`, the fingerprint of the scan, and `descent`, whom a
    painted one descends from, and `warnings`, what was said when the scan was read, are kept in a file of their own.
    `synthetic` layouts, drawn or edited, say so in their headers, as painted scans do.

    Raises:
        OutputError: the layout's id is no plain name, or its folder a link: it would lead out of the folder.
    """
    target = case_path(Path(folder), layout.id)
    if target.is_symlink():
        raise OutputError.unexpected(
            target, "a folder of the layout's own", "a link", "remove it or choose another folder"
        )
    make_folder(target)
    note = PROVENANCE if synthetic or descent is not None else ""
    write_nifti(map_path(target, "tumour"), layout.tumour, layout.affine, note=note)
    for name in DETAIL:
        if layout.detail is not None:
            write_nifti(map_path(target, name), getattr(layout.detail, name), layout.affine, note=note, small=True)
        else:  # of another layout, that was here before
            map_path(target, name).unlink(missing_ok=True)
    if style is not None:
        with atomic_write(style_path(target)) as handle:
            handle.write((json.dumps({**style.to_dict(), "source": source}, indent=1) + "\n").encode())
    if scan:
        with atomic_write(scan_path(target)) as handle:
            known = {"fingerprint": scan} | ({} if descent is None else {"ancestors": sorted(descent)})
            known |= {"warnings": list(warnings)} if warnings else {}
            handle.write((json.dumps(known) + "\n").encode())
    write_nifti(map_path(target, "tissue"), layout.tissue, layout.affine, note=note)  # last: its presence vouches
    return target


def load_layout(folder: str | os.PathLike) -> Layout:
    """Read a layout written by `save_layout` from its folder.

    Nothing is rounded or cast: a map of other values than the classes, two maps in different places or axes other
    than BraTS's are refused. Voxels need not be of 1 mm.

    Raises:
        LayoutError: a file is missing, damaged or not lawful.
    """
    folder = Path(folder)
    volumes = {name: _read_map(map_path(folder, name), folder.name) for name in MAPS}
    tissue, tumour = volumes.values()
    if tissue.array.shape != tumour.array.shape or not same_place(tissue, tumour):
        raise LayoutError(
            f"{map_path(folder, 'tumour')}: its grid or affine differs from that of {map_path(folder, 'tissue').name}; "
            "both maps of a layout lie in one place: make the layout again."
        )
    maps = {name: _classes(volumes[name].array, map_path(folder, name), MAPS[name]) for name in MAPS}
    if not tissue.array.any():
        raise LayoutError(f"{map_path(folder, 'tissue')}: every voxel is 0; expected a brain: make the layout again.")
    return Layout(maps["tissue"], maps["tumour"], tissue.affine, folder.name)


def load_detail(folder: str | os.PathLike, tones: bool = True) -> Detail | None:
    """Read the detail that `save_layout` wrote beside a layout; None where there is none.

    Args:
        folder: of the layout.
        tones: read them too; otherwise they are 0.

    Raises:
        LayoutError: a file of it is missing, damaged, not lawful, or lies elsewhere than the layout.
    """
    folder = Path(folder)
    maps = DETAIL if tones else MIXED
    paths = [map_path(folder, name) for name in maps]
    if not any(path.exists() for path in paths):
        return None
    tissue = _read_map(map_path(folder, "tissue"), folder.name)
    layers = []
    for path, (name, most) in zip(paths, maps.items(), strict=True):
        volume = _read_map(path, folder.name)
        if volume.array.shape != tissue.array.shape or not same_place(tissue, volume):
            raise LayoutError(
                f"{path}: its grid or affine differs from that of {map_path(folder, 'tissue').name}; all maps of a "
                "layout lie in one place: make the layout again."
            )
        layers.append(_whole_numbers(volume.array, path, most, f"whole numbers 0 to {most} ({name})"))
    outside = tissue.array == 0
    union = layers[0].copy("K")
    for layer in layers[1:]:
        union |= layer
    if (union * outside).any():
        beside = [path.name for path, layer in zip(paths, layers, strict=True) if layer[outside].any()]
        raise LayoutError(
            f"{folder}: {beside[0]} has values outside the brain of {map_path(folder, 'tissue').name}; the two are of "
            "different layouts: make the layout again, or delete the detail."
        )
    try:
        return Detail(*layers)
    except LayoutError as error:
        raise LayoutError(f"{folder}: {error} Make the layout again.") from error


def load_tumour(folder: str | os.PathLike) -> np.ndarray:
    """The tumour map of a layout alone, (X, Y, Z) uint8.

    Raises:
        LayoutError: the file is missing, damaged or not lawful.
    """
    path = map_path(Path(folder), "tumour")
    return _classes(_read_map(path, Path(folder).name).array, path, MAPS["tumour"])


def load_style(folder: str | Path) -> Style:
    """The style stored beside a layout.

    Raises:
        LayoutError: there is none, or it is damaged.
    """
    path = style_path(Path(folder))
    try:
        return Style.from_dict(read(path, _STYLE))
    except (OSError, ValueError, TypeError, KeyError, SynthError) as error:
        raise LayoutError(f"{path}: expected the style of this layout ({error}); extract it again.") from error


def load_fingerprint(folder: str | Path) -> Fingerprint:
    """The fingerprint of the scan that a layout was found in; empty where that is not known."""
    return tuple(_scan(Path(folder)).get("fingerprint", ()))


def load_warnings(folder: str | Path) -> tuple[str, ...]:
    """What was said when the scan was read that a layout was found in, a line each."""
    return tuple(_scan(Path(folder)).get("warnings", ()))


def load_ancestors(folder: str | Path) -> frozenset[str] | None:
    """The patients that the painted scan descends from that a layout was found in; None where it was no such scan."""
    known = _scan(Path(folder)).get("ancestors")
    return None if known is None else frozenset(known)


def list_layouts(folder: str | os.PathLike) -> list[Path]:
    """Folders below `folder` that hold a layout written by `save_layout`, sorted by id."""
    maps = Path(folder).glob("*/*_tissue.nii.gz")
    return sorted(path.parent for path in maps if path == map_path(path.parent, "tissue"))


def folder_sources(folder: str | Path) -> list[FolderSource]:
    """The layouts below `folder`, sorted by id, as sources; nothing is read yet.

    Raises:
        LayoutError: there are none.
    """
    records = records_of(Path(folder)) or {}
    sources = [FolderSource(path, records.get(path.name)) for path in list_layouts(folder)]
    if not sources:
        raise LayoutError(f"{folder}: expected folders with layouts, found none; run `synth layouts extract` first.")
    return sources


def map_path(folder: Path, name: str) -> Path:
    """The file of a map ("tissue", "tumour", or a layer of detail) in a layout's folder."""
    return folder / f"{folder.name}_{name}.nii.gz"


def style_path(folder: Path) -> Path:
    """The file of the style in a layout's folder."""
    return folder / f"{folder.name}_style.json"


def scan_path(folder: Path) -> Path:
    """The file of the fingerprint in a layout's folder."""
    return folder / f"{folder.name}_scan.json"


def _scan(folder: Path) -> dict[str, list[str]]:
    """What is known of the scan that a layout was found in; nothing where the file is not there.

    Raises:
        LayoutError: it is damaged.
    """
    path = scan_path(folder)
    if not path.is_file():
        return {}
    try:
        return read(path, _SCAN)
    except (OSError, ValueError) as error:
        raise LayoutError(
            f"{path}: expected what is known of this layout's scan ({error}); extract it again."
        ) from error


def _read_map(path: Path, layout_id: str) -> Volume:
    """One map, whose place in the world must be sound."""
    if not path.is_file():
        raise LayoutError(f"{path}: expected this file of the layout {layout_id}, found none; extract it again.")
    try:
        volume = read_volume(path, None)
    except FileError as error:
        raise LayoutError(str(error)) from error
    sound = volume.placed and np.isfinite(volume.affine).all() and np.linalg.det(volume.affine[:3, :3])
    axes = "".join(code or "?" for code in nib.aff2axcodes(volume.affine)) if sound else "none"
    if axes != _AXES:
        raise LayoutError(
            f"{path}: expected voxel axes {_AXES} in the header's affine (as BraTS has them), found {axes}; reorient "
            "the layout, or make it again."
        )
    return volume


def _classes(values: np.ndarray, path: Path, classes: type[IntEnum]) -> np.ndarray:
    """The map as uint8, refused where a value is no class."""
    limit = int(max(classes))
    return _whole_numbers(
        values, path, limit, f"whole numbers 0 to {limit} ({', '.join(c.name for c in classes if c)})"
    )


def _whole_numbers(values: np.ndarray, path: Path, limit: int, expected: str) -> np.ndarray:
    """The map as uint8, refused where a value is no whole number of 0 to `limit`."""
    if values.dtype == np.uint8 and values.size and values.max() <= limit:
        return values
    kept = values.astype(np.uint8) if np.isfinite(values).all() else None
    if kept is None or not np.array_equal(kept, values) or (kept.size and kept.max() > limit):
        wrong = values[~np.isin(values, range(limit + 1))]
        raise LayoutError(
            f"{path}: expected {expected}, found {wrong.size} other values such as {wrong[0]:.6g}; make the layout "
            "again."
        )
    return kept
