"""What the cases of a set show together: labels in another order than their table says, one scan under several ids.

Every command that reads a set tells this in the same words: each case is shown to an `Inspection` while it is at hand,
and when all were seen the set is judged.
"""

from collections.abc import Callable, Sequence
from os import PathLike

import numpy as np

from synth.brats import LABEL_TABLES, NAMINGS, LabelTable, Tumour
from synth.datasets.case_files import refuse_any
from synth.datasets.findings import Findings, folded, listing
from synth.datasets.fingerprint import Fingerprint, twin_sentence
from synth.datasets.reading import AUTO, PLAIN, Reading
from synth.datasets.voxels.label_order import LabelFacts, judge_label_order, label_surface
from synth.datasets.voxels.verdict import Verdict


class Inspection:
    """The cases of one set, as they were seen one after the other; little of each is kept.

    Args:
        path: of the set, for sentences.
        reading: what its user stated; a stated label table is doubted aloud, but not refused.
    """

    def __init__(self, path: str | PathLike, reading: Reading = PLAIN):
        self.path, self.reading = path, reading
        self._labels: dict[str, LabelFacts] = {}
        self._scans: dict[str, Fingerprint] = {}

    def see(
        self,
        case_id: str,
        labels: np.ndarray | LabelFacts | None = None,
        images: np.ndarray | None = None,
        scan: Fingerprint = (),
    ) -> None:
        """Note what matters of a case.

        Args:
            case_id: of the case.
            labels: (X, Y, Z) uint8 class indices (`brats.Tumour`), or what `label_surface` said of them; None where
                they are not known or stated to be a healthy brain's.
            images: (X, Y, Z, 4) of the same case, if at hand.
            scan: its fingerprint, if known.
        """
        if labels is not None:
            self._labels[case_id] = labels if isinstance(labels, LabelFacts) else label_surface(labels, images)
        if scan:
            self._scans[case_id] = scan

    def findings(self) -> Findings:
        """What is wrong with the set, as far as it was seen: errors, where it would be learnt from wrongly."""
        notes = Findings("", "labels")
        ids = list(self._labels)
        for verdict in judge_label_order(list(self._labels.values())):
            cases = [ids[i] for i in verdict.cases]
            where = f"{len(cases)} of {len(ids)} cases ({listing(cases)}): " if cases else ""
            refused = verdict.sure and verdict.kind != "lacking" and self.reading.labels == AUTO
            (notes.error if refused else notes.warning)(self.path, where + verdict.text + _remedy(verdict, refused))
        notes.topic = "files"
        if twice := twin_sentence(self._scans, "cases"):
            notes.warning(self.path, twice)
        return notes

    def conclude(self, tell: Callable[[str], None]) -> None:
        """Refuse the set if it has an error, else tell its warnings, a line each.

        Raises:
            DataError: the labels mean something else than they are read as.
        """
        found = self.findings()
        refuse_any(found)
        for line in folded(found):
            tell(line.removeprefix("warning: "))


def _remedy(verdict: Verdict, refused: bool) -> str:
    """The option that reads such labels, and the one that reads them as they are nevertheless."""
    if not refused:
        return ""
    fitting = {
        repr(table.meaning): name for name, table in reversed(LABEL_TABLES.items()) if _fits(table, verdict.order)
    }
    options = " or ".join(f"`--labels {name}`" for name in sorted(fitting.values()))
    read = f" {options} reads them so;" if fitting else ""
    return f"{read or ' If'}{' if' * bool(read)} they are right as they are, `--labels brats` says so."


def _fits(table: LabelTable, order: Sequence[str]) -> bool:
    """Whether a table reads labels in the order found (unknown ones as it likes) where BraTS's own do not."""
    wanted = [Tumour[name] if name else None for name in order]
    for naming in NAMINGS.values():
        read = [table.meaning.get(value) for value in naming.label_values[1:]]
        if wanted and all(want in (None, got) and got is not None for want, got in zip(wanted, read, strict=True)):
            return True
    return False
