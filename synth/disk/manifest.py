"""The manifest: what a run wrote, one JSON line per sample, and the settings it wrote it with.

`manifest.jsonl` is appended to (and forced to the disk) after a sample's files are complete, so a line vouches for
files, and a killed run loses at most the sample it was at. The file is always in the order of the samples' indices and
holds nothing but what the samples are made of, no time, no host: an interrupted and resumed run leaves the same bytes
as an undisturbed one. `run.json` beside it holds the run's settings: a resumed run must have the same.
"""

import json
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from synth.disk.files import atomic_write, make_folder
from synth.disk.json_files import parse, read, read_bytes
from synth.disk.lock import FolderLock
from synth.disk.objects import COPY_FIRST, refuse_address
from synth.disk.run_schemas import RECORD, SETTINGS
from synth.disk.staging import remove_left
from synth.errors import DataError, OutputError, printable

MANIFEST = "manifest.jsonl"
RUN = "run.json"
LIBRARIES = "libraries"  # of the settings: versions of what made the last samples
FREE = ("n", LIBRARIES)  # settings of a run that may change when it goes on
_MOST_BYTES = 1 << 33  # of a manifest: about a million samples


class Manifest:
    """The manifest of one output folder, open for writing by this process alone.

    Args:
        folder: the output folder; made if it is not there.
        config: the run's settings, JSON-able; written to `run.json`, or compared with it if it is there.
        free: names of settings (dotted below the top: `model.name`) that may differ from the earlier run's, such as
            the number of samples; the new values are written.
        shared: other processes are writing files there by now (not the manifest): what looks left behind is theirs.

    Raises:
        OutputError: the folder belongs to a run with other settings, another process is writing to it, or the
            manifest is damaged before its last line.

    Example:
        >>> import tempfile
        >>> with Manifest(tempfile.mkdtemp(), {"seed": 1}) as manifest:
        ...     manifest.append({"index": 0, "id": "Synth_00000", "files": {}})
        ...     0 in manifest, len(manifest)
        (True, 1)
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        config: dict | None = None,
        *,
        free: Collection[str] = (),
        shared: bool = False,
    ):
        self.folder = Path(folder)
        self.path = self.folder / MANIFEST
        make_folder(self.folder)
        self._lock = FolderLock(self.folder)
        try:
            if not shared:
                remove_left(self.folder, locked=True)
            self._lines, self._size = _read_lines(self.path)
            if config is not None:
                self._claim(config, free)
        except BaseException:
            self.close()
            raise

    def append(self, record: dict) -> None:
        """Add one sample's record, durably; its files must be complete by now.

        The record needs a whole number `index`. The same record again changes nothing.

        Raises:
            OutputError: the index is in the manifest with another content, the record is not JSON-able, or the disk
                is full.
        """
        index = _index(record, self.path)
        line = json_text(record, what=f"record {index} of {self.path}").encode()
        known = self._lines.get(index)
        if known == line:
            return
        if known is not None:
            keys = ", ".join(settings_differences(json.loads(known), json.loads(line)))
            raise OutputError(
                f"{self.path}: sample {index} came out differently from what is recorded ({keys}); the libraries or "
                "the kind of processor changed since, so write the set anew with --force."
            )
        if not self._lines or index > next(reversed(self._lines)):
            self._append_line(line)
            self._lines[index] = line
        else:
            self._rewrite({**self._lines, index: line})

    def discard(self, index: int) -> None:
        """Take one sample's record out, if it is there: its files are to be written anew."""
        if index in self._lines:
            self._rewrite({k: line for k, line in self._lines.items() if k != index})

    def entries(self) -> list[dict]:
        """All records, in the order of their indices."""
        return [json.loads(line) for line in self._lines.values()]

    def get(self, index: int) -> dict | None:
        """The record of one sample, or None."""
        return json.loads(self._lines[index]) if index in self._lines else None

    def __contains__(self, index: int) -> bool:
        """Whether sample `index` has a record."""
        return index in self._lines

    def __len__(self) -> int:
        """The number of records."""
        return len(self._lines)

    def verified(self, problems: Callable[[dict[str, str]], list[str]]) -> set[int]:
        """Indices in whose files nothing is wrong; the others' records are taken out.

        Args:
            problems: what is wrong with the `files` of a record, such as an exporter's `verify`.
        """
        good = set()
        for record in self.entries():
            files = record.get("files")
            if not isinstance(files, dict) or problems(files):
                self.discard(record["index"])
            else:
                good.add(record["index"])
        return good

    def close(self) -> None:
        """Release the folder to other processes."""
        self._lock.release()

    def __enter__(self):
        """Return the manifest itself."""
        return self

    def __exit__(self, *exc):
        """Close."""
        self.close()

    def _claim(self, config: dict, free: Collection[str]) -> None:
        """Write the settings, or compare them with those of the run that the folder belongs to."""
        path = self.folder / RUN
        if self._lines and not path.exists():
            raise OutputError(f"{path}: expected the settings of the run that wrote {MANIFEST}, found no such file.")
        advice = "give the same with --resume, choose another folder, or start over with --force"
        keep_settings(self.folder, config, advice, free)

    def _append_line(self, line: bytes) -> None:
        try:
            with open(self.path, "r+b" if self.path.exists() else "w+b") as handle:
                handle.truncate(self._size)  # a line torn by a kill or a full disk ends here
                handle.seek(self._size)
                handle.write(line)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError as error:
            raise OutputError(
                f"{self.path}: cannot be written ({error.strerror}); free some space or check the folder, "
                "then start again with --resume."
            ) from error
        self._size += len(line)

    def _rewrite(self, lines: dict[int, bytes]) -> None:
        lines = dict(sorted(lines.items()))
        data = b"".join(lines.values())
        with atomic_write(self.path) as handle:
            handle.write(data)
        self._lines, self._size = lines, len(data)


def read_entries(folder: str | os.PathLike) -> list[dict]:
    """The records of an output folder, in order, also while a run is still writing; changes nothing.

    Raises:
        OutputError: there is no manifest, or it is damaged before its last line.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        raise OutputError(f"{path}: expected the manifest of a run, found no such file.")
    lines, _ = _read_lines(path)
    return [json.loads(line) for line in lines.values()]


def records_of(folder: Path) -> dict[str, dict] | None:
    """The manifest's records of a set by case id; None where it has no manifest.

    Raises:
        DataError: the manifest is damaged.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        return {record["id"]: record for record in read_entries(folder)}
    except (OutputError, KeyError, TypeError) as error:
        raise DataError(f"{folder / MANIFEST}: cannot be read ({error}); the set's lineage is unknown.") from error


def read_run(folder: str | os.PathLike) -> dict:
    """The settings of the run that wrote to a folder.

    Raises:
        OutputError: there are none, or the file is damaged; or it is an address.
    """
    refuse_address(folder, OutputError, COPY_FIRST)
    path = Path(folder) / RUN
    try:
        return read(path, SETTINGS)
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: the settings of the run cannot be read ({printable(error)}).") from error


def keep_settings(folder: str | os.PathLike, config: dict, advice: str, free: Collection[str] = ()) -> None:
    """Write a run's settings to `run.json`, or compare them with what is there.

    Args:
        folder: of the run; there, and this process's.
        config: the settings, JSON-able.
        advice: what to do where they differ.
        free: names of settings that may differ, with all below them; the new values are written.

    Raises:
        OutputError: the folder belongs to a run with other settings, or its settings cannot be read or written.
    """
    path = Path(folder) / RUN
    text = json_text(config, what=f"the settings for {path}", indent=1)
    if path.exists():
        differing = settings_differences(read_run(folder), json.loads(text))
        fixed = {key: values for key, values in differing.items() if not {key, key.partition(".")[0]} & {*free}}
        if fixed:
            raise other_settings(folder, fixed, advice)
    if not path.exists() or path.read_bytes() != text.encode():
        with atomic_write(path) as handle:
            handle.write(text.encode())


def recorded_files(folder: str | os.PathLike) -> set[str]:
    """The files that a run's records name, relative to `folder`; none where the manifest is missing or no JSON.

    Whether a name leads out of the folder is for the caller to judge, name by name: one that does spares no other.
    """
    try:
        lines = [line for line in read_bytes(Path(folder) / MANIFEST, _MOST_BYTES).splitlines(True) if b"\n" in line]
        named = [value.get("files") for value in map(parse, lines) if isinstance(value, dict)]
    except (OSError, ValueError):
        return set()
    return {name for files in named if isinstance(files, dict) for name in files}


def settings_differences(old: dict, new: dict, prefix: str = "") -> dict[str, tuple]:
    """Dotted keys under which two JSON objects differ, with both values (None where absent); list items from 1."""
    differing = {}
    for key in sorted(old.keys() | new.keys()):
        a, b = old.get(key), new.get(key)
        if isinstance(a, list) and isinstance(b, list) and len(a) == len(b) and all(isinstance(v, dict) for v in a + b):
            a, b = ({str(number): v for number, v in enumerate(values, 1)} for values in (a, b))
        if isinstance(a, dict) and isinstance(b, dict):
            differing.update(settings_differences(a, b, f"{prefix}{key}."))
        elif a != b:
            differing[prefix + key] = (a, b)
    return differing


def other_settings(place: str | os.PathLike, differing: Mapping[str, tuple], advice: str) -> OutputError:
    """The refusal of a folder whose run has other settings.

    Args:
        place: the folder.
        differing: what `settings_differences` gave.
        advice: what to do.
    """
    told = ", ".join(f"{key} (was {_short(old)}, now {_short(new)})" for key, (old, new) in differing.items())
    return OutputError.unexpected(place, "a run with the same settings", f"other settings: {told}", advice)


def json_text(value: Any, what: str, indent: int | None = None) -> str:
    """JSON with sorted keys and a line end; NumPy numbers and arrays become plain ones, paths become text.

    Args:
        value: what to write.
        what: how an error calls it.
        indent: as in `json.dumps`; None gives one line.

    Raises:
        OutputError: the value holds NaN, infinity, or something JSON cannot say.
    """
    separators = (",", ":") if indent is None else None
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False, indent=indent, separators=separators, default=_plain)
    except (TypeError, ValueError) as error:
        raise OutputError(f"{what} cannot be written as JSON: {error}.") from error
    return text + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _read_lines(path: Path) -> tuple[dict[int, bytes], int]:
    """The whole lines by index, and the number of bytes they take; what follows was torn by a kill."""
    try:
        data = read_bytes(path, _MOST_BYTES) if path.exists() else b""
    except ValueError as error:
        raise OutputError(f"{path}: {error}; remove it.") from error
    lines, size = {}, 0
    for number, line in enumerate(data.splitlines(keepends=True), 1):
        end = size + len(line)
        try:
            value = parse(line)
        except ValueError as error:
            if end == len(data):
                break
            raise _damaged(path, number, error) from error
        try:
            index = RECORD.check(value)["index"]
        except ValueError as error:
            raise _damaged(path, number, error) from error
        if not line.endswith(b"\n"):
            break
        if index in lines:
            raise OutputError(f"{path}, line {number}: sample {index} is recorded twice; start over with --force.")
        lines[index], size = line, end
    return dict(sorted(lines.items())), size


def _damaged(path: Path, line: int, error: ValueError) -> OutputError:
    return OutputError(
        f"{path}, line {line}: expected a record of one sample, found damaged text ({printable(error)}); restore the "
        "file or start over with --force."
    )


def _index(record: Any, path: Path) -> int:
    index = record.get("index") if isinstance(record, dict) else None
    if not isinstance(index, int | np.integer) or isinstance(index, bool) or index < 0:
        raise OutputError(f"{path}: a record needs a whole number `index` from 0 up, found {index!r}.")
    return int(index)


def _short(value: Any, limit: int = 60) -> str:
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= limit else text[: limit - 1] + "…"
