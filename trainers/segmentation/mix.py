"""What a segmenter learns from: real cases, cases painted before, samples painted meanwhile, and their shares."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synth.datasets.fingerprint import Fingerprint
from synth.datasets.sets import CaseSet
from synth.errors import DataError
from synth.hosts.sources import Sources
from synth.lineage import hash_id
from synth.models.cards import read_card
from synth.trainers.segmentation.annotated import Annotated, find_annotated
from synth.trainers.segmentation.folds import Fold, sources_without
from synth.trainers.segmentation.leaks import lineage_notes, listed, seen_by_generator


@dataclass(frozen=True)
class TrainingMix:
    """What is learnt from: cases on the disk, and samples painted meanwhile.

    Attributes:
        real: real cases.
        synthetic: cases painted before.
        fresh: sources of samples painted while training; None for none.
        synthetic_share: of the patches from `synthetic`.
        fresh_share: of the patches from `fresh`; the rest is real.
        model: the generator that paints fresh samples.
        sets: the folders of `synthetic`: their records say which generator painted them.
    """

    real: Sequence[Annotated]
    synthetic: Sequence[Annotated] = ()
    fresh: Sources | None = None
    synthetic_share: float = 0.0
    fresh_share: float = 0.0
    model: str | Path = "default"
    sets: Sequence[str | Path] = ()

    def __post_init__(self):
        """Raise `DataError` on shares without cases, or cases without a share."""
        shares = {"real": self.real_share, "synthetic": self.synthetic_share, "fresh": self.fresh_share}
        there = {"real": bool(self.real), "synthetic": bool(self.synthetic), "fresh": self.fresh is not None}
        for name, share in shares.items():
            if not -1e-9 <= share <= 1 or (share > 1e-9) != there[name]:
                raise DataError(
                    f"{name} patches have a share of {share:.3g}, and there are {'' if there[name] else 'no '}{name} "
                    "cases; shares go from 0 to 1, sum up to at most 1, and need cases to draw from."
                )

    @property
    def real_share(self) -> float:
        """What the others leave."""
        return 1.0 - self.synthetic_share - self.fresh_share

    def notes(self, held_out: Sequence[Annotated], *, named: bool = True) -> list[str]:
        """What the generators behind the synthetic cases know of held-out ones, in sentences, with ids or without."""
        notes = []
        for folder in self.sets:
            notes += lineage_notes(folder, self.synthetic, self.real, held_out, named=named)
        if self.fresh is not None:
            card = read_card(self.model)
            notes += seen_by_generator(card["name"], card, (), held_out, named=named)
        return list(dict.fromkeys(notes))

    def without(self, patients: frozenset[str], scans: Collection[Fingerprint] = ()) -> "TrainingMix":
        """The mix whose fresh samples know nothing of these patients, nor of these scans under other names.

        Raises:
            DataError: nobody is left to draw them from.
        """
        return self if self.fresh is None else replace(self, fresh=sources_without(self.fresh, patients, scans))

    @property
    def shares(self) -> list[float]:
        """Of real, synthetic and fresh patches, as settings and cards have them."""
        return [round(share, 6) for share in (self.real_share, self.synthetic_share, self.fresh_share)]

    def described(self) -> dict[str, Any]:
        """The mix as settings: hashed ids, so that a run's folder names nobody."""
        return {
            "real": hashed(self.real),
            "synthetic": hashed(self.synthetic),
            "fresh": self.fresh.name if self.fresh is not None else None,
            "shares": self.shares,
            "generator": read_card(self.model)["name"] if self.fresh is not None else None,
        }

    def for_fold(self, fold: Fold) -> "TrainingMix":
        """The mix without a fold's patients and their descendants.

        Raises:
            DataError: no synthetic case is left.
        """
        synthetic = fold.unrelated(self.synthetic)
        if self.synthetic and not synthetic:
            raise DataError(
                f"every synthetic case descends from a patient of fold {fold.number}; make more of them, or fewer "
                "folds."
            )
        scans = [case.fingerprint for case in fold.held_out]
        return replace(self, real=fold.training, synthetic=synthetic).without(fold.patients, scans)


def hashed(cases: Iterable[Annotated]) -> list[str]:
    """Cases as settings name them: changed by another id and by other files, and telling neither."""
    return sorted(hash_id(case.id + case.signature) for case in cases)


def sources_of_training(
    real: Sequence[str | Path | CaseSet], synthetic: Sequence[str | Path | CaseSet]
) -> tuple[list[Annotated], list[Annotated]]:
    """The real and the synthetic cases of some folders.

    Raises:
        DataError: a folder given as real holds a synthetic set, or the other way round; one id appears twice.
    """
    kinds = []
    for folders, painted in ((real, False), (synthetic, True)):
        cases = [case for folder in folders for case in _of_kind(folder, painted)]
        ids = [(case.id, case.signature if painted else "") for case in cases]
        if twice := sorted({case_id for case_id, signature in ids if ids.count((case_id, signature)) > 1}):
            raise DataError(f"case {twice[0]} is in two of the folders {', '.join(map(str, folders))}; give each once.")
        kinds.append(cases)
    return kinds[0], kinds[1]


def real_cases(folder: str | Path | CaseSet) -> list[Annotated]:
    """The annotated cases of a folder; raise `DataError` where synth painted any of them."""
    return _of_kind(folder, painted=False)


def _of_kind(folder: str | Path | CaseSet, painted: bool) -> list[Annotated]:
    cases = find_annotated(folder)
    wrong = [case.id for case in cases if case.synthetic != painted]
    if len(wrong) == len(cases):
        raise DataError(
            f"{folder}: is given as {'synthetic' if painted else 'real'}, but "
            + ("has no manifest of synth's." if painted else "is a set that synth painted; give it as synthetic.")
        )
    if wrong:
        raise DataError(
            f"{folder}: is given as {'synthetic' if painted else 'real'}, but of its {len(cases)} cases {len(wrong)} "
            + (f"stand in no manifest of synth's ({listed(wrong)})" if painted else f"were painted ({listed(wrong)})")
            + "; it holds several sets: give the folder of each, the painted ones as synthetic."
        )
    return cases
