"""The cases in HDF5 files: the reader for training loaders, and the index that the writer keeps."""

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import h5py
import numpy as np

from synth.case import Case
from synth.errors import DataError
from synth.exporters.hdf5_packed import Box, PackedCase, as_box

STAGING = ".staging"
_SHARD = re.compile(r"synth(-\d+)?\.h5")
_OPEN_FILES = 32  # at a time; staged cases are a file each


def open_cases(path: str | os.PathLike) -> "Hdf5Cases":
    """Open what the HDF5 exporter wrote, for random access; also what an unfinished run has written so far.

    Args:
        path: the output folder, or one `.h5` file.

    Raises:
        DataError: there is no such file or folder, no case in it, or a file is damaged.

    Example:
        >>> cases = open_cases("set")  # doctest: +SKIP
        >>> images, labels = cases.read_patch(0, (slice(40, 168), slice(60, 188), slice(10, 138)))  # doctest: +SKIP
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"{path}: expected a folder or file written by synth as HDF5, found nothing.")
    cases = Hdf5Cases()
    for file in [path] if path.is_file() else shard_paths(path):
        cases.add_file(file)
    if path.is_dir():
        for file in sorted((path / STAGING).glob("*.h5")):
            cases.add_file(file, staged=True)
    if not len(cases):
        raise DataError(f"{path}: expected cases in synth.h5 or synth-00000.h5 and following, found none.")
    return cases


def is_hdf5(path: Path) -> bool:
    """Whether a path is, by its name or by what lies in it, a set that the HDF5 exporter wrote, or has begun to."""
    if not path.is_dir():
        return path.suffix == ".h5"
    return bool(shard_paths(path)) or any((path / STAGING).glob("*.h5"))


def shard_paths(folder: Path) -> list[Path]:
    """The finished HDF5 files of an output folder, in order."""
    return sorted(path for path in folder.glob("synth*.h5") if _SHARD.fullmatch(path.name))


def _of_another_program(file: h5py.File) -> str:
    """The first few entries of a file in which none is a case of ours; empty for ours, damaged or not."""
    kinds = {name: file.get(name, getclass=True) for name in file}
    ours = [name for name, kind in kinds.items() if kind is not h5py.Dataset]  # a link to nothing is damage
    if not kinds or (len(ours) == len(kinds) and any(kinds[n] is None or "images" in file[n] for n in ours)):
        return ""
    return ", ".join(sorted(kinds)[:3]) + (", ..." if len(kinds) > 3 else "")


class Hdf5Cases(Sequence[Case]):
    """Cases in HDF5 files, sorted by id: `len`, `ids`, `shape`, `read`, `read_patch`.

    Safe to share between threads, to pickle, and to use after a fork: each process opens the files for itself.
    """

    def __init__(self) -> None:
        self.shards: dict[Path, list[str]] = {}
        self.staged: dict[str, Path] = {}  # a staged case stands before one of the same id in a shard
        self.sizes: dict[str, int] = {}
        self._paths: dict[str, Path] = {}
        self._ids: list[str] | None = None
        self._fresh_handles()

    @property
    def ids(self) -> list[str]:
        """Case ids, in the order of `read`."""
        return list(self._sorted())

    def __len__(self) -> int:
        """The number of cases."""
        return len(self._paths.keys() | self.staged.keys())

    def __contains__(self, case_id: object) -> bool:
        """Whether there is a case of this id."""
        return case_id in self._paths or case_id in self.staged

    @overload
    def __getitem__(self, index: int) -> Case: ...

    @overload
    def __getitem__(self, index: slice) -> list[Case]: ...

    def __getitem__(self, index: int | slice) -> Case | list[Case]:
        """As `read`; of a slice all its cases, in memory."""
        if isinstance(index, slice):
            return [self.read(place) for place in range(len(self))[index]]
        return self.read(index)

    def read(self, index: int) -> Case:
        """The whole case number `index`; its recipe is in `meta`.

        Raises:
            DataError: the case is damaged.
        """
        return self.load(self._sorted()[index]).unpack()

    def read_patch(self, index: int, slices: Box) -> tuple[np.ndarray, np.ndarray | None]:
        """A box of case number `index`, touching only the blocks it meets.

        Args:
            index: place of the case in `ids`.
            slices: three slices without step, in voxels.

        Returns:
            images (x, y, z, 4) int16 and labels (x, y, z) uint8 class indices, None where the case has none.

        Raises:
            DataError: the slices are empty or have a step, or the case is damaged.
        """
        packed = self.load(self._sorted()[index], slices)
        box = as_box(slices, packed.arrays["images"].shape)
        return packed.array("images", box), packed.labels(box)

    def shape(self, index: int) -> tuple[int, int, int]:
        """The grid of case number `index` in voxels; next to nothing is read.

        Raises:
            DataError: the case is damaged.
        """
        x, y, z, _ = self.load(self._sorted()[index], (slice(0, 1),) * 3).arrays["images"].shape
        return x, y, z

    def load(self, case_id: str, slices: Box | None = None) -> PackedCase:
        """The encoded blocks of a case, all or those that meet `slices`; decode them outside the lock.

        Raises:
            DataError: the case is damaged.
        """
        path = self.staged.get(case_id) or self._paths[case_id]
        if os.getpid() != self._pid:
            self._fresh_handles()
        with self._lock:
            try:
                group = self._file(path)[case_id]
            except (OSError, KeyError, RuntimeError) as error:
                raise DataError(f"{path}: case {case_id} cannot be read ({error}); the file is damaged.") from error
            return PackedCase.load(group, slices)

    def add_file(self, path: Path, *, staged: bool = False) -> None:
        """Take in the cases of a file.

        Raises:
            DataError: the file cannot be read.
        """
        if path.exists() and not path.is_file():
            raise DataError(
                f"{path}: expected an HDF5 file of synth, found a folder, pipe or device; put the file there."
            )
        try:
            with h5py.File(path, "r") as file:
                if strange := _of_another_program(file):
                    raise DataError(
                        f"{path}: expected an HDF5 set of synth, a group with `images` for each case, found that of "
                        f"another program ({strange}); give the scans themselves (.nii.gz)."
                    )
                sizes = {name: sum(d.id.get_storage_size() for d in file[name].values()) for name in sorted(file)}
        except (OSError, RuntimeError, AttributeError, KeyError, ValueError) as error:
            raise DataError(f"{path}: cannot be opened as HDF5 ({error}).") from error
        if staged:
            self.staged.update(dict.fromkeys(sizes, path))
        else:
            self.shards[path] = list(sizes)
            self._paths.update(dict.fromkeys(sizes, path))
        self.sizes.update({name: size for name, size in sizes.items() if staged or name not in self.staged})
        self._ids = None

    def add_staged(self, path: Path, packed: PackedCase) -> None:
        """Take in one case just written to a file of its own, in place of any of the same id."""
        self._shut(path)
        self.staged[packed.id] = path
        self.sizes[packed.id] = packed.size
        self._ids = None

    def forget(self, path: Path) -> None:
        """Leave the cases of a file out from now on, and close it."""
        for case_id in self.shards.pop(path, ()):
            self._paths.pop(case_id, None)
        if self.staged.get(path.stem) == path:
            del self.staged[path.stem]
        self._ids = None
        self._shut(path)

    def unstage(self, case_id: str, folder: Path) -> None:
        """Leave a staged case out from now on; its file goes if it is in `folder`, those of other sets stay."""
        path = self.staged.pop(case_id)
        self._ids = None
        if path.parent == folder:
            self._shut(path)
            path.unlink()

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        with self._lock:
            while self._files:
                self._files.popitem()[1].close()

    def __getstate__(self) -> dict:
        """Everything but open files."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_files", "_pid")}

    def __setstate__(self, state: dict) -> None:
        """Restore; files are opened when first read."""
        self.__dict__.update(state)
        self._fresh_handles()

    def _sorted(self) -> list[str]:
        if self._ids is None:
            self._ids = sorted(self._paths.keys() | self.staged.keys())
        return self._ids

    def _fresh_handles(self) -> None:
        """Forget handles of another process without closing them: they are its own."""
        self._lock, self._pid = threading.Lock(), os.getpid()
        self._files: OrderedDict[Path, h5py.File] = OrderedDict()

    def _file(self, path: Path) -> h5py.File:
        """The open file, most recently used last; the longest unused one is closed. Call with the lock held."""
        if path not in self._files:
            self._files[path] = h5py.File(path, "r")
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)[1].close()
        self._files.move_to_end(path)
        return self._files[path]

    def _shut(self, path: Path) -> None:
        with self._lock:
            if path in self._files:
                self._files.pop(path).close()
