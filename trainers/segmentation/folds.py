"""Splits of annotated cases that keep relatives together."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from synth.datasets.fingerprint import Fingerprint, same_scan
from synth.datasets.relatives import deal
from synth.errors import DataError
from synth.hosts.anatomies import AtlasAnatomies
from synth.hosts.sources import Sources
from synth.lineage import patient_of
from synth.style.prior import StylePrior
from synth.trainers.segmentation.annotated import Annotated


@dataclass(frozen=True)
class Fold:
    """One split: what is learnt from, and what is held out."""

    number: int
    training: tuple[Annotated, ...]
    held_out: tuple[Annotated, ...]

    @property
    def patients(self) -> frozenset[str]:
        """Whose scans are held out."""
        return frozenset().union(*(case.patients for case in self.held_out))

    def unrelated(self, cases: Iterable[Annotated]) -> list[Annotated]:
        """Those of further cases that descend from no patient held out here."""
        return [case for case in cases if not case.patients & self.patients]


def split(cases: Sequence[Annotated], folds: int, seed: int) -> list[Fold]:
    """K folds over real cases: all scans of a patient in one fold, under whatever names, sizes as even as that allows.

    Args:
        cases: real ones, with fingerprints where a scan may be there under two names.
        folds: how many, at least 2 and at most the number of patients.
        seed: of the order in which patients are dealt out.

    Raises:
        DataError: there are fewer patients than folds.
    """
    dealt = [
        [cases[i] for i in part]
        for part in deal([case.patients for case in cases], [case.fingerprint for case in cases], folds, seed)
    ]
    return [
        Fold(number, tuple(case for other in dealt if other is not held_out for case in other), tuple(held_out))
        for number, held_out in enumerate(dealt)
    ]


def refuse_relatives(training: Iterable[Annotated], held_out: Iterable[Annotated]) -> None:
    """Raise `DataError` if a case to be learnt from shares a patient, or its id, with one that is held out."""
    patients = {patient: case.id for case in held_out for patient in case.patients | {case.id}}
    for case in training:
        for name in sorted(case.patients | ({case.id} if not case.synthetic else set())):
            if name in patients:
                how = "descends from" if case.synthetic else "is of"
                raise DataError(
                    f"case {case.id}, to be learnt from, {how} the patient of {patients[name]}, which is held out; "
                    "remove one of them: what is held out must never be learnt from."
                )


def sources_without(sources: Sources, patients: frozenset[str], scans: Collection[Fingerprint] = ()) -> Sources:
    """Hosts, donors and styles of the other patients alone, for samples that are to know nothing of these.

    Args:
        sources: of samples.
        patients: whose cases are to be left out.
        scans: fingerprints of scans to be left out under whatever name: layouts remember what they were found in.

    Raises:
        DataError: nobody is left.
    """
    if isinstance(sources.hosts, AtlasAnatomies):
        return sources
    digests = {digest for scan in scans for digest in scan}
    hosts = [
        host
        for host in sources.hosts
        if patient_of(host.id) not in patients and not same_scan(getattr(host, "fingerprint", ()), digests)
    ]
    if not hosts:
        raise DataError("no case is left to draw samples from once those held out are taken away; use fewer folds.")
    if len(hosts) == len(sources.hosts):
        return sources
    own, prior = sources.own_style, sources.prior
    if own is not None:
        prior = lru_cache(1)(lambda: StylePrior.fit(own(host.id) for host in hosts))
    return replace(sources, hosts=hosts, prior=prior, name=f"{sources.name}, {len(hosts)} of them")
