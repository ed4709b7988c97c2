"""Exporters: the formats in which cases leave synth and are found again, one file each, behind one registry."""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, Protocol

from synth.case import Case, CaseFiles
from synth.errors import OutputError

# name -> class, or module:class that is imported when asked for; in the order in which help texts list them
EXPORTERS: dict[str, "str | type[Exporter]"] = {
    "nifti": "synth.exporters.nifti:NiftiExporter",
    "hdf5": "synth.exporters.hdf5:Hdf5Exporter",
}


class Exporter(Protocol):
    """What every format offers; one writer per folder, cases in any order, also from a thread of its own.

    The constructor takes the folder, `naming` and the format's own options. It creates nothing outside that folder
    and picks up what an interrupted writer left there. `close` must be called (or `with` used): only then is the
    output complete.

    Two static methods are optional. With `find(path: Path)` every command reads the format's folders, through
    `synth.datasets.open_set`: it goes by names and small index files and gives None for a folder of another kind, else
    the ids of its cases, which `read` then reads, or a `CaseFiles` for each, where every modality is a NIfTI file of
    its own. `names(out: Path, ids: Iterable[str], naming: Naming)` tells all files that a writer of these cases may
    have left below `out`, so that `--force` also removes what a kill kept out of the manifest.

    With a further method several processes write to one folder: `elsewhere()` gives a picklable object whose `write`
    does in another process what the exporter's own does, while others do so too, and touches only the files of its
    case. If there is `take(case_id)`, the exporter hears of each such case by it.
    """

    name: str

    def write(self, case: Case) -> dict[str, str]:
        """Write one case, durably; return checksums by file name, for the manifest."""

    def verify(self, files: Mapping[str, str]) -> list[str]:
        """Compare the disk with what `write` returned; return what is wrong, a sentence each."""

    def read(self, case_id: str) -> Case:
        """The case as it was written; raise `OutputError` if it cannot be read back."""

    def close(self) -> None:
        """Complete the output and let go of it."""

    def __enter__(self) -> "Exporter":
        """Return the exporter itself."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool | None:
        """Close; after an exception what is staged may stay for the run that resumes."""


class Writer(Protocol):
    """What writes cases in a process beside others; an exporter's `elsewhere` gives it."""

    def write(self, case: Case) -> dict[str, str]:
        """As an exporter's."""


def writer_elsewhere(exporter: Exporter) -> Writer:
    """What writes an exporter's cases in other processes.

    Raises:
        OutputError: its format cannot be written so.
    """
    if not hasattr(exporter, "elsewhere"):
        raise OutputError(
            f"the format {exporter.name} is written by one process alone: it has no method `elsewhere`; leave several "
            "workers out."
        )
    return exporter.elsewhere()


def take_in(exporter: Exporter, case_id: str) -> None:
    """Tell an exporter, if it asks for that, of a case that was written elsewhere."""
    if hasattr(exporter, "take"):
        exporter.take(case_id)


def register(exporter: type[Exporter]) -> type[Exporter]:
    """Make a format known by its `name`; a class decorator, for formats in a package of their own too.

    Raises:
        OutputError: the class lacks a part of `Exporter`, or another format has its name.
    """
    name = getattr(exporter, "name", None)
    missing = [part for part in ("write", "verify", "read", "close") if not callable(getattr(exporter, part, None))]
    if not isinstance(name, str) or not name or missing:
        raise OutputError(
            f"{exporter.__name__} is no exporter: expected a name and the methods write, verify, read and close, "
            f"found the name {name!r}{' and no ' + ', '.join(missing) if missing else ''}."
        )
    if name in EXPORTERS and exporter_class(name) is not exporter:
        raise OutputError(f"the output format {name!r} exists already; give {exporter.__name__} another name.")
    EXPORTERS[name] = exporter
    return exporter


def exporter_class(name: str) -> type[Exporter]:
    """The class of a format.

    Raises:
        OutputError: no format has this name.
    """
    if name not in EXPORTERS:
        raise OutputError(f"unknown output format {name!r}: expected one of {', '.join(EXPORTERS)}.")
    known = EXPORTERS[name]
    if isinstance(known, str):
        module, _, attribute = known.partition(":")
        return getattr(import_module(module), attribute)
    return known


Finder = Callable[[Path], Sequence[CaseFiles] | Sequence[str] | None]


def finders() -> list[tuple[str, Finder]]:
    """The formats that can find their cases again, by name, with what finds them."""
    classes = {name: exporter_class(name) for name in EXPORTERS}
    return [(name, cls.find) for name, cls in classes.items() if hasattr(cls, "find")]


def open_exporter(name: str, out: str | os.PathLike, **options: Any) -> Exporter:
    """The exporter of this name, ready to write below `out`.

    Args:
        name: one of `EXPORTERS`.
        out: the output folder.
        options: `naming` (a `synth.brats.Naming`) and the format's own, see its class.

    Raises:
        OutputError: no format has this name, or it has no such option.
    """
    cls = exporter_class(name)
    known = [option for option in signature(cls).parameters if option != "out"]
    for option in options:
        if option not in known:
            raise OutputError(f"the format {name} has no option {option!r}: expected {', '.join(known)}.")
    make: Callable[..., Exporter] = cls
    return make(out, **options)
