"""Splits of an export that do not leak: validation is real, and none of its patients' relatives are trained on."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from synth.datasets.relatives import deal, families
from synth.lineage import REAL, ancestors

Split = dict[str, list[str]]


def splits(records: Sequence[Mapping[str, Any]], folds: int, seed: int) -> list[Split]:
    """K splits in nnU-Net's form: every real case is validated on once, its relatives are left out of that training.

    Relatives are other scans of the patient, the same scan under another name, and painted cases that took brain or
    tumour of one of these, directly or by way of cases that were painted themselves.

    Args:
        records: of an export's manifest; those of real cases with `patients` and, where it is known, `fingerprint`.
        folds: how many; fewer where there are fewer patients.
        seed: of the order in which patients are dealt out.

    Returns:
        For each fold the ids in "train" and "val", sorted; no fold where there are fewer than two real patients.
    """
    real = [record for record in records if record.get(REAL)]
    patients = [frozenset(record["patients"]) for record in real]
    prints = [tuple(record.get("fingerprint", ())) for record in real]
    kin = families(patients, prints)
    folds = min(folds, len(set(kin)))
    if folds < 2:
        return []
    out = []
    for held_out in deal(patients, prints, folds, seed):
        places = set(held_out)
        whose = frozenset().union(*(kin[place] for place in held_out))
        train = [record["id"] for place, record in enumerate(real) if place not in places]
        train += [r["id"] for r in records if not r.get(REAL) and not descends(r, whose)]
        out.append({"train": sorted(train), "val": sorted(real[place]["id"] for place in held_out)})
    return out


def descends(record: Mapping[str, Any], patients: Collection[str]) -> bool:
    """Whether a painted case has anatomy of one of these patients."""
    return not ancestors(dict(record)).isdisjoint(patients)
