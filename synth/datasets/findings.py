"""What an inspection found: problems one sentence each, and the report of a whole dataset."""

import re
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass

from synth.errors import printable

ERROR = "error"
WARNING = "warning"
# A few stray voxels (tumour outside the brain, intensities below 0) are put right with a warning: up to this fraction
# of the tumour or the brain, and in any case up to this number. The 16 real cases have none at all.
STRAY_FRACTION = 1e-3
STRAY_VOXELS = 10
ALIKE = 5  # lines that say the same of different files (those of one case, say), before they are one line
_SHOWN = 3  # names in a sentence before "and n more"
_NUMBER = re.compile(r"\d[\d.]*")
_FILE = re.compile(r"\bID[_-]\w+")


@dataclass(frozen=True)
class Finding:
    """One problem of a dataset.

    Attributes:
        case: id of the case, empty where the problem is of the folder.
        file: path of the file or folder at fault.
        severity: "error" (the case cannot be used) or "warning" (it can; the message says what is done about it).
        message: one sentence: what was expected, what was found, what to do.
        topic: what it is about: "files", "geometry", "intensities" or "labels"; empty for the folder's own.
    """

    case: str
    file: str
    severity: str
    message: str
    topic: str = ""

    def __str__(self) -> str:
        """`file: message`, the line that users see."""
        return f"{self.file}: {self.message}"


class Findings(list):
    """A list of `Finding`s about one case; `topic` is that of the findings to come."""

    def __init__(self, case: str, topic: str = ""):
        super().__init__()
        self.case, self.topic = case, topic

    @classmethod
    def joined(cls, *parts: "Findings") -> "Findings":
        """Those of several sets, in order."""
        out = cls("")
        for part in parts:
            out += part
        return out

    def error(self, file, message: str) -> None:
        """Note a problem that rules the case out."""
        self.append(Finding(printable(self.case), printable(file), ERROR, message, self.topic))

    def warning(self, file, message: str) -> None:
        """Note a problem that the case can be used with."""
        self.append(Finding(printable(self.case), printable(file), WARNING, message, self.topic))

    @property
    def errors(self) -> list[Finding]:
        """Those that rule the case out."""
        return [finding for finding in self if finding.severity == ERROR]


@dataclass(frozen=True)
class CaseSummary:
    """One case of a report; volumes are in ml and None where the case could not be read or has no labels."""

    id: str
    folder: str
    naming: str
    labelled: bool
    brain_ml: float | None = None
    tumour_ml: dict[str, float] | None = None  # NCR, ED, ET and WT (all three)


@dataclass(frozen=True)
class DatasetReport:
    """What `check_dataset` found in a folder."""

    folder: str
    cases: tuple[CaseSummary, ...]
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> list[Finding]:
        """The findings that rule a case out."""
        return [finding for finding in self.findings if finding.severity == ERROR]

    @property
    def warnings(self) -> list[Finding]:
        """The findings that a case can be used with."""
        return [finding for finding in self.findings if finding.severity == WARNING]

    def to_dict(self) -> dict:
        """A JSON-able dict of everything, with the counts of errors and warnings."""
        return {**asdict(self), "errors": len(self.errors), "warnings": len(self.warnings)}


def folded(findings: Iterable[Finding]) -> list[str]:
    """One line a finding; more than `ALIKE` that say the same of different files are one line with their count.

    Two say the same if their severity agrees and their messages do, but for numbers and the ids of their cases. The
    line shows the first of them, and a few of the other cases.
    """
    return _fold((f.case, f"{f.severity}: {f}", (f.severity, _gist(f.case, f.message))) for f in findings)


def folded_lines(lines: Iterable[tuple[str, str]]) -> list[str]:
    """As `folded`, for the ids of cases and the lines about them, which begin with a file and a colon."""
    return _fold((case, line, _gist(case, line.partition(": ")[2] or line)) for case, line in lines)


def _fold(told: Iterable[tuple[str, str, Hashable]]) -> list[str]:
    """Lines from case, line and what lines that say the same have in common."""
    groups: dict[Hashable, list[tuple[str, str]]] = {}
    for case, line, gist in told:
        groups.setdefault(gist, []).append((case, line))
    lines = []
    for alike in groups.values():
        if len(alike) <= ALIKE:
            lines += [line for _, line in alike]
            continue
        (first, line), *rest = alike
        others = [case for case in dict.fromkeys(case for case, _ in rest) if case != first]
        where = f" of {len(others)} other case{'s' if len(others) > 1 else ''} ({listing(others)})" if others else ""
        lines.append(f"{line} The same of {len(rest)} more files{where}.")
    return lines


def listing(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    shown = ", ".join(printable(name) for name in names[:_SHOWN])
    return shown + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def _gist(case: str, message: str) -> str:
    """A message without what differs from case to case."""
    return _NUMBER.sub("#", _FILE.sub("FILE", message.replace(case, "ID") if case else message))
