"""How the painted cases of a run are called."""

import re
from dataclasses import dataclass

from synth.brats import NAMINGS, Naming
from synth.errors import OutputError, SynthError, printable

OLD_DIGITS = 6  # in runs whose settings do not tell the form of ids


@dataclass(frozen=True)
class CaseIds:
    """How the painted cases of a run are called: sample k is `<prefix><first + k><suffix>`.

    Attributes:
        prefix: before the number.
        suffix: behind it.
        first: number of sample 0.
        digits: of the number, with zeros in front; more only where it needs them. BraTS has five since 2021.

    Raises:
        SynthError: the prefix makes no plain file name, or the first number is below 0.
    """

    prefix: str
    suffix: str = ""
    first: int = 0
    digits: int = 5

    def __post_init__(self) -> None:
        """Refuse ids that could not name a file."""
        if not re.fullmatch(r"(\w[\w.-]*)?", self.prefix, re.ASCII):
            raise SynthError(
                f"a prefix of ids has letters, digits, _, - and . and begins with one of the first three, found "
                f"{printable(self.prefix)!r}; give another, such as Synth_."
            )
        if not isinstance(self.first, int) or self.first < 0:
            raise SynthError(f"the first number of ids is a whole number from 0 up, found {self.first!r}.")

    @classmethod
    def of(cls, naming: Naming, prefix: str | None = None, first: int = 0, digits: int = 5) -> "CaseIds":
        """Those of a naming, or with a prefix of one's own."""
        return cls(naming.prefix if prefix is None else prefix, naming.suffix, first, digits)

    def __call__(self, k: int) -> str:
        """The id of sample k.

        >>> CaseIds("Synth_")(7), CaseIds("S-", first=99_999)(1), CaseIds("S-", "-000")(1)
        ('Synth_00007', 'S-100000', 'S-00001-000')
        """
        return f"{self.prefix}{self.first + k:0{self.digits}d}{self.suffix}"


def ids_of_run(run: dict) -> CaseIds:
    """How the cases of a run are called, by its settings."""
    form = run.get("ids", {"digits": OLD_DIGITS})
    if not isinstance(form, dict):
        raise OutputError(f"expected how a run's cases are called, found {printable(form)}; restore its settings.")
    return CaseIds.of(NAMINGS[run["naming"]], **form)
