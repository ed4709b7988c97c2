"""How one case lies in an HDF5 file: a group of its id with `images`, `labels`, and attributes that explain them.

`images` is (X, Y, Z, 4) int16 and `labels` (X, Y, Z) uint8, both in blocks of 32 voxels along x, y, z, all modalities
of a place in one block: a loader that reads a random patch touches few blocks and gets its channels last. Blocks of
nothing but background are not stored. Measured on a real case (`benchmarks/bench_writing.py`), this reads a patch of
128 voxels a side 1.4 times faster than one dataset per modality and 2 to 3 times faster than slices, in less room;
blocks of 64 are slower, blocks of 16 no better. The filters are shuffle and deflate (gzip 1), which every HDF5 has; we
run them ourselves (`synth.exporters.deflate`) and hand HDF5 finished blocks, so that encoding and decoding hold neither
the locks of Python nor those of HDF5.
"""

import hashlib
import itertools
import json
import math
from dataclasses import dataclass

import h5py
import numpy as np

from synth.brats import MODALITIES, NAMINGS, Naming
from synth.case import Case
from synth.disk.json_files import parse
from synth.disk.manifest import json_text
from synth.errors import DataError
from synth.exporters.deflate import deflate, inflate
from synth.exporters.nifti import PROVENANCE, to_int16

BLOCK = 32
COMPRESSIONS = ("gzip", "none")
MAX_DIM = 1024  # voxels along an axis: more than any head scan has, little enough to be refused before it is allocated

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Stored:
    """One array as encoded blocks, by the position of their first voxel; blocks left out are all zero."""

    shape: tuple[int, ...]
    dtype: str
    block: tuple[int, ...]
    blocks: dict[tuple[int, ...], bytes]


@dataclass(frozen=True)
class PackedCase:
    """One case in its HDF5 form, in memory; the same case packs to the same bytes.

    Attributes:
        id: case id, the name of the group.
        naming: name of the label convention (`brats.NAMINGS`) that the stored labels follow.
        affine: (4, 4) float64, voxel to mm.
        recipe: the case's `meta` as JSON.
        compression: one of `COMPRESSIONS`.
        arrays: `images` and, where known, `labels`.
    """

    id: str
    naming: str
    affine: np.ndarray
    recipe: str
    compression: str
    arrays: dict[str, Stored]

    @property
    def size(self) -> int:
        """Bytes of all blocks."""
        return sum(len(data) for stored in self.arrays.values() for data in stored.blocks.values())

    @property
    def digest(self) -> str:
        """SHA-256 over everything stored, as hex digits."""
        affine = self.affine.astype("<f8").tobytes().hex()
        head = [self.id, self.naming, affine, self.recipe, self.compression]
        sha = hashlib.sha256(json.dumps(head).encode())
        for name, stored in sorted(self.arrays.items()):
            sha.update(json.dumps([name, stored.shape, stored.dtype, stored.block]).encode())
            for offset, data in sorted(stored.blocks.items()):
                sha.update(json.dumps([offset, len(data)]).encode())
                sha.update(data)
        return sha.hexdigest()

    def save(self, parent: h5py.Group) -> None:
        """Write the case as a group of `parent`, always in the same order, without time stamps."""
        group = h5py.Group(_new_group(parent, self.id))
        naming = NAMINGS[self.naming]
        group.attrs["provenance"] = PROVENANCE
        group.attrs["affine"] = self.affine
        group.attrs["spacing"] = np.sqrt((self.affine[:3, :3] ** 2).sum(0))
        group.attrs["naming"] = naming.name
        group.attrs["label_values"] = np.asarray(naming.label_values, np.uint8)
        group.attrs["modalities"] = list(MODALITIES)
        group.attrs["recipe"] = self.recipe
        for name, stored in sorted(self.arrays.items()):
            filters = {"compression": "gzip", "compression_opts": 1} if self.compression == "gzip" else {}
            if filters and np.dtype(stored.dtype).itemsize > 1:
                filters["shuffle"] = True
            dataset = group.create_dataset(
                name, stored.shape, stored.dtype, chunks=stored.block, fillvalue=0, track_times=False, **filters
            )
            for offset, data in sorted(stored.blocks.items()):
                dataset.id.write_direct_chunk(offset, data)

    @classmethod
    def load(cls, group: h5py.Group, slices: Box | None = None) -> "PackedCase":
        """The case of a group written by `save`, or only its blocks that meet `slices`.

        Raises:
            DataError: the group is not one of ours, or is damaged.
        """
        where = f"{group.file.filename}: case {group.name.lstrip('/')}"
        try:
            attrs = {key: group.attrs[key] for key in ("naming", "affine", "recipe")}
            if attrs["naming"] not in NAMINGS:
                raise DataError(f"{where}: unknown label convention {attrs['naming']!r}; known: {', '.join(NAMINGS)}.")
            compression = group["images"].compression or "none"
            names = [name for name in ("images", "labels") if name in group]
            arrays = {name: _load_blocks(group[name], compression, where, slices) for name in names}
        except (KeyError, OSError, RuntimeError, ValueError, AttributeError, TypeError) as error:
            raise DataError(
                f"{where}: cannot be read ({error}); the file is damaged or not written by synth."
            ) from error
        grid, labelled = arrays["images"].shape[:3], arrays.get("labels")
        if labelled is not None and labelled.shape != grid:
            raise DataError(
                f"{where}: labels of {labelled.shape} voxels beside images of {grid}; write the case again."
            )
        affine = np.asarray(attrs["affine"], np.float64)
        return cls(group.name.lstrip("/"), attrs["naming"], affine, attrs["recipe"], compression, arrays)

    def array(self, name: str, box: Box, values: np.ndarray | None = None) -> np.ndarray:
        """The voxels of `images` or `labels` inside a box, as on disk or looked up in a table of `values`."""
        stored = self.arrays[name]
        out = np.zeros([s.stop - s.start for s in box] + list(stored.shape[3:]), stored.dtype)
        for offset, data in stored.blocks.items():
            spans = list(zip(offset[:3], stored.block[:3], box, strict=True))
            if any(o + n <= s.start or o >= s.stop for o, n, s in spans):
                continue
            target = tuple(slice(max(o, s.start) - s.start, min(o + n, s.stop) - s.start) for o, n, s in spans)
            source = tuple(slice(max(o, s.start) - o, min(o + n, s.stop) - o) for o, n, s in spans)
            block = _decode(data, stored, self.compression)
            if block is None:
                raise DataError(f"case {self.id}: a block of {name} at {offset} is damaged; write the case again.")
            out[target] = block[source] if values is None else values[block[source]]
        return out

    def labels(self, box: Box) -> np.ndarray | None:
        """Class indices inside a box, or None where the case has no labels."""
        if "labels" not in self.arrays:
            return None
        naming, illegal = NAMINGS[self.naming], 255
        classes = np.full(256, illegal, np.uint8)
        classes[list(naming.label_values)] = range(len(naming.label_values))
        labels = self.array("labels", box, classes)
        if labels.max() == illegal:
            raise DataError(f"case {self.id}: labels must be {naming.label_values}, found others; write it again.")
        return labels

    def unpack(self) -> Case:
        """The case itself.

        Raises:
            DataError: what is stored makes no case.
        """
        try:
            box, recipe = whole(self.arrays["images"].shape), parse(self.recipe)
            if not isinstance(recipe, dict):
                raise ValueError("its recipe is no JSON object")
            return Case(self.id, self.array("images", box), self.labels(box), self.affine, recipe)
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"case {self.id}: cannot be read ({error}); write the case again.") from error


def pack(case: Case, naming: Naming, compression: str = "gzip") -> PackedCase:
    """Encode a case; intensities are rounded and cut as for NIfTI, labels take the values of `naming`."""
    recipe = json_text(case.meta, what=f"{case.id}: the recipe").strip()
    arrays = {"images": _encode_blocks(case.images, "<i2", to_int16, compression)}
    if case.labels is not None:
        arrays["labels"] = _encode_blocks(case.labels, "|u1", naming.to_disk, compression)
    return PackedCase(case.id, naming.name, np.asarray(case.affine, np.float64), recipe, compression, arrays)


def whole(shape: tuple[int, ...]) -> Box:
    """The box of a whole grid."""
    return tuple(slice(0, n) for n in shape[:3])


def as_box(slices: tuple[slice, slice, slice], shape: tuple[int, ...]) -> Box:
    """Slices with both ends written out, cut at the grid's edge.

    Raises:
        DataError: not three slices, one of them empty or with a step.
    """
    if len(slices) != 3 or not all(isinstance(s, slice) and s.step in (None, 1) for s in slices):
        raise DataError(f"a patch needs three slices without step, found {slices!r}.")
    box = tuple(slice(*s.indices(n)[:2]) for s, n in zip(slices, shape, strict=False))
    if any(s.stop <= s.start for s in box):
        raise DataError(f"the patch {slices!r} is empty on a grid of {shape[:3]}.")
    return box


def _encode_blocks(array: np.ndarray, dtype: str, convert, compression: str) -> Stored:
    block = tuple(min(BLOCK, n) for n in array.shape[:3]) + array.shape[3:]
    blocks = {}
    for corner in _corners(array.shape, block, whole(array.shape)):
        part = array[tuple(slice(o, o + n) for o, n in zip(corner, block, strict=True))]
        if not part.any():
            continue
        full = np.zeros(block, dtype)
        full[tuple(slice(0, n) for n in part.shape)] = convert(part)
        if full.any():  # intensities below one half are background now
            blocks[corner] = _encode(full, compression)
    return Stored(array.shape, dtype, block, blocks)


def _load_blocks(dataset: h5py.Dataset, compression: str, where: str, slices: Box | None) -> Stored:
    shape, block = dataset.shape, dataset.chunks
    name = dataset.name.rsplit("/", 1)[-1]
    dtype, ndim = {"images": ("<i2", 4), "labels": ("|u1", 3)}[name]
    if len(shape) != ndim or max(shape) > MAX_DIM or dataset.dtype != np.dtype(dtype) or block is None:
        raise DataError(
            f"{where}: expected {name} in blocks of {dtype}, {ndim} axes of at most {MAX_DIM}, found {dataset.dtype} "
            f"{shape}; the file is damaged or not written by synth."
        )
    if (dataset.compression or "none") != compression or dataset.shuffle != (
        compression == "gzip" and name == "images"
    ):
        raise DataError(f"{where}: {name} was packed again with other filters; read it with h5py, or write it again.")
    blocks = {}
    for corner in _corners(shape, block, as_box(slices, shape) if slices else whole(shape)):
        if dataset.id.get_chunk_info_by_coord(corner).byte_offset is not None:
            blocks[corner] = dataset.id.read_direct_chunk(corner)[1]
    return Stored(shape, dtype, block, blocks)


def _corners(shape: tuple[int, ...], block: tuple[int, ...], box: Box):
    """First voxels of the blocks that meet a box, in order; along the modalities there is one block."""
    starts = (range(s.start // n * n, min(s.stop, size), n) for s, n, size in zip(box, block, shape, strict=False))
    for corner in itertools.product(*starts):
        yield corner + (0,) * (len(shape) - 3)


def _encode(block: np.ndarray, compression: str) -> bytes:
    if compression == "none":
        return block.tobytes()
    if block.dtype.itemsize > 1:  # HDF5's shuffle: all first bytes, then all second bytes
        block = np.ascontiguousarray(block.reshape(-1).view(np.uint8).reshape(-1, block.dtype.itemsize).T)
    return deflate(block)


def _decode(data: bytes, stored: Stored, compression: str) -> np.ndarray | None:
    """The voxels of one block, or None if the data are damaged."""
    dtype, size = np.dtype(stored.dtype), math.prod(stored.block)
    if compression == "gzip":
        data = inflate(data, size * dtype.itemsize)
    if data is None or len(data) != size * dtype.itemsize:
        return None
    if compression == "none" or dtype.itemsize == 1:
        return np.frombuffer(data, dtype).reshape(stored.block)
    planes = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, size)
    voxels = np.empty((size, dtype.itemsize), np.uint8)
    for k, plane in enumerate(planes):
        voxels[:, k] = plane
    return voxels.view(dtype).reshape(stored.block)


def _new_group(parent: h5py.Group, name: str) -> h5py.h5g.GroupID:
    """A group without the time of its making, which h5py's own `create_group` would store."""
    properties = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
    properties.set_obj_track_times(False)
    return h5py.h5g.create(parent.id, name.encode(), gcpl=properties)
