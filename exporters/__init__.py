"""Exporters: the formats in which cases leave synth, one file per format, behind one registry."""

import os
from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Protocol

from synth.case import Case
from synth.errors import OutputError

EXPORTERS = {  # name -> module:class, in the order in which help texts list them; imported when asked for
    "nifti": "synth.exporters.nifti:NiftiExporter",
    "hdf5": "synth.exporters.hdf5:Hdf5Exporter",
}


class Exporter(Protocol):
    """What every format offers; one writer per folder, cases in any order, also from a thread of its own.

    The constructor takes the folder, `naming` and the format's own options. It creates nothing outside that folder
    and picks up what an interrupted writer left there. `close` must be called (or `with` used): only then is the
    output complete.
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


def open_exporter(name: str, out: str | os.PathLike, **options) -> Exporter:
    """The exporter of this name, ready to write below `out`.

    Args:
        name: one of `EXPORTERS`.
        out: the output folder.
        options: `naming` (a `synth.brats.Naming`) and the format's own, see its class.

    Raises:
        OutputError: no format has this name, or it has no such option.
    """
    if name not in EXPORTERS:
        raise OutputError(f"unknown output format {name!r}: expected one of {', '.join(EXPORTERS)}.")
    module, _, attribute = EXPORTERS[name].partition(":")
    cls = getattr(import_module(module), attribute)
    known = [option for option in signature(cls).parameters if option != "out"]
    for option in options:
        if option not in known:
            raise OutputError(f"the format {name} has no option {option!r}: expected {', '.join(known)}.")
    return cls(out, **options)
