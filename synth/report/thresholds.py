"""What a script may ask of a report: the bars of `--fail-under`."""

from collections.abc import Iterable

from synth.errors import SynthError
from synth.report.build import SECTIONS
from synth.report.core.judge import Verdict

_ALLOWED = {"pass": Verdict.PASS, "look": Verdict.LOOK}


def read_thresholds(texts: Iterable[str]) -> dict[str, Verdict | float]:
    """Bars by section, "" for all that are not named: a verdict, or the least share of checks that pass.

    Raises:
        SynthError: a text is no bar, or a section has two.

    Example:
        >>> read_thresholds(["0.8", "memorisation=pass"])
        {'': 0.8, 'memorisation': <Verdict.PASS: 'pass'>}
    """
    bars = {}
    for text in texts:
        section, equals, value = text.rpartition("=")
        if equals and section not in SECTIONS:
            raise SynthError(f"--fail-under {text}: {section!r} is no section; there are {', '.join(SECTIONS)}.")
        if section in bars:
            raise SynthError(f"--fail-under {text}: a second bar for {section or 'all sections'}; give one.")
        bars[section] = _bar(value, text)
    return bars


def _bar(value: str, text: str) -> Verdict | float:
    if value in _ALLOWED:
        return _ALLOWED[value]
    try:
        share = float(value)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise SynthError(f"--fail-under {text}: expected pass, look, or a share from 0 to 1, found {value!r}.")
    return share
