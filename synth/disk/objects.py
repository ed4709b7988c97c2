"""Object storage: objects by name below an address (`s3://bucket/prefix`), by fsspec (extra `synth-brats[cloud]`).

An object is there whole or not at all: a store promises that of each, so nothing is written under another name first.
Credentials, region and endpoint are those that the store's own package finds (for s3fs the environment of AWS's tools).
"""

import contextlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from synth.errors import OutputError, SynthError, printable

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

STORES = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "memory")  # whole or not at all, object by object
COPY_FIRST = "copy it first, such as `aws s3 sync ADDRESS FOLDER`, and give the folder"
_ADDRESS = re.compile(r"([a-z][a-z0-9+.-]+):/{1,2}(.*)", re.DOTALL)  # `Path` makes one slash of two
_ODD = re.compile(r"[*?\[\]{}\s]")  # read as patterns by fsspec


def address_of(place: str | os.PathLike) -> str | None:
    """The address that a place is, such as `s3://bucket/prefix`; None: it is a path."""
    match = _ADDRESS.fullmatch(os.fspath(place)) if isinstance(place, str | os.PathLike) else None
    return f"{match[1]}://{match[2].rstrip('/')}" if match else None


def refuse_address(place: str | os.PathLike, error: type[SynthError], advice: str) -> None:
    """Refuse an address where a path is meant.

    Raises:
        SynthError: it is one; of the kind given.
    """
    if (address := address_of(place)) is not None:
        raise error(f"{printable(address)}: expected a path, found the address of an object store; {advice}.")


class Objects:
    """The objects below an address; nothing is asked of the store before the first method is called.

    Args:
        address: `<store>://<bucket>/<prefix>`.

    Raises:
        OutputError: it is none; of the methods: the store does not answer, has no such bucket, or denies access.

    Example:
        >>> objects = Objects("s3://bucket/set")  # doctest: +SKIP
        >>> objects.put({"Synth_00000/Synth_00000_t1.nii.gz": Path("t1.nii.gz")})  # doctest: +SKIP
    """

    def __init__(self, address: str):
        self.address, self.store = address, address.partition("://")[0]
        if self.store not in STORES or _ODD.search(address) or not address.removeprefix(f"{self.store}://").strip("/"):
            raise OutputError.unexpected(
                address,
                f"the address of an object store ({', '.join(f'{store}://' for store in STORES[:3])}, ...) with a "
                "bucket, without spaces and any of *?[]{}",
                "another",
                "correct it, or give a folder",
            )

    def __reduce__(self) -> tuple:
        """Another process has connections of its own."""
        return type(self), (self.address,)

    def sizes(self) -> dict[str, int]:
        """Bytes of all objects below the address, by name."""
        with self._told("listed"):
            entries = self._files.find(self._root, detail=True)
            start = len(self._root) + 1
            return {path[start:]: entry["size"] for path, entry in entries.items() if len(path) > start}

    def put(self, files: Mapping[str, Path]) -> None:
        """Store files by name, several at a time; each is whole or not at all."""
        with self._told("written"):
            self._files.put([os.fspath(path) for path in files.values()], [self._key(name) for name in files])

    def get(self, names: Iterable[str], folder: Path) -> None:
        """Bring objects into a folder, below which they have the same names."""
        names = list(names)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if names:
            with self._told("read"):
                self._files.get([self._key(name) for name in names], [os.fspath(folder / name) for name in names])

    def copy(self, source: "Objects", names: Iterable[str]) -> None:
        """Have the store copy objects from another address of it, to the same names here."""
        if names := list(names):
            with source._told("copied"):
                self._files.copy([source._key(name) for name in names], [self._key(name) for name in names])

    def write(self, name: str, data: bytes) -> None:
        """Store one object."""
        with self._told("written"):
            self._files.pipe_file(self._key(name), data)

    def read(self, names: Iterable[str]) -> list[bytes]:
        """What objects hold, in the order of their names."""
        keys = [self._key(name) for name in names]
        with self._told("read"):
            held = self._files.cat(keys, on_error="raise") if keys else {}
            return [held[key] for key in keys] if isinstance(held, dict) else [held]

    def has(self, name: str) -> bool:
        """Whether an object is there."""
        with self._told("read"):
            return self._files.exists(self._key(name))

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects that are there."""
        if keys := [self._key(name) for name in names]:
            with self._told("deleted"):
                self._files.rm(keys)

    @cached_property
    def _files(self) -> "AbstractFileSystem":
        try:
            import fsspec

            return fsspec.filesystem(self.store, use_listings_cache=False)
        except ImportError as error:
            lacking = "" if self.store.startswith("s3") else f" ({printable(error)})"
            raise OutputError(
                f"{self.address}: needs fsspec and a package for {self.store}://, which are not installed{lacking}; "
                "install them with: pip install 'synth-brats[cloud]' (for s3://)."
            ) from error
        except Exception as error:
            raise self._problem("opened", error) from error

    @cached_property
    def _root(self) -> str:
        return self._files._strip_protocol(self.address).rstrip("/")

    def _key(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Turn what the store's package raises, of whatever family, into a sentence."""
        _ = self._root
        try:
            yield
        except SynthError:
            raise
        except Exception as error:
            raise self._problem(what, error) from error

    def _problem(self, what: str, error: Exception) -> OutputError:
        kind, text = type(error).__name__, printable(str(error).strip().partition("\n")[0])[:200]
        if isinstance(error, FileNotFoundError):
            return OutputError(f"{self.address}: cannot be {what}, there is no such bucket or object ({text}).")
        if isinstance(error, PermissionError) or "Credentials" in kind:
            return OutputError(
                f"{self.address}: cannot be {what}, access is denied ({text or kind}); check the credentials in the "
                "environment and what they allow."
            )
        return OutputError(
            f"{self.address}: cannot be {what} ({kind}: {text}); check the address, the network and the store's "
            "endpoint, then start again with --resume."
        )
