"""Every error that synth raises on purpose, so that callers can catch one family."""

import re
from os import PathLike

_MOST = 500  # characters of a word; a damaged file may have words of megabytes, which sentences then quote
_WORD = re.compile(rf"\S{{{_MOST + 1},}}")


class SynthError(Exception):
    """Bad input or an impossible request, told in one sentence a user can act on; no word of it is endless."""

    def __init__(self, sentence: str = ""):
        super().__init__(_WORD.sub(lambda word: f"{word[0][: _MOST // 2]}…{word[0][-_MOST // 2 :]}", str(sentence)))


class DataError(SynthError):
    """A scan, label map or dataset folder is not what it has to be."""


class FileError(DataError):
    """One input file is not what it has to be; the file and the reason are kept apart for reports."""

    def __init__(self, file: str | PathLike, reason: str):
        super().__init__(f"{printable(file)}: {reason}")
        self.file = file
        self.reason = reason

    def __reduce__(self) -> tuple:
        """Errors travel between processes, and are made again there from what they were made of."""
        return type(self), (self.file, self.reason)


class LayoutError(SynthError):
    """A layout breaks anatomical law, or no lawful one could be drawn."""


class ModelError(SynthError):
    """Weights or a model card are missing, damaged or do not fit the network."""


class OutputError(SynthError):
    """The output cannot be written: it exists, is locked, or belongs to another run."""

    @classmethod
    def unexpected(cls, place: str | PathLike, expected: str, found: str, advice: str) -> "OutputError":
        """The one sentence about a folder or file that cannot be written to: what it should be, is, and what to do."""
        return cls(f"{printable(place)}: expected {expected}, found {found}; {advice}.")


def printable(name: object) -> str:
    """A file name or id as one line of text that any terminal takes: odd characters are escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(name))
