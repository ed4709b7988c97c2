"""Adds fingerprints of the scans to cards that list their cases by hashed ids alone; weights and identity stay.

    python benchmarks/add_fingerprints.py DATA/brats/train DATA/brats/val
    python benchmarks/add_fingerprints.py data --card run/model/card.json

Cases are recognised by `ids_sha256`: give the folders that a model was trained on and validated with, under the names
that they had then. Without --card the cards that ship are completed.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from synth.datasets.fingerprint import Fingerprint, fingerprint
from synth.datasets.sets import open_set
from synth.lineage import hash_id
from synth.models.cards import (
    CARD,
    GENERATOR,
    PACKAGED,
    SEGMENTER,
    model_hash,
    segmenter_hash,
    used_cases,
    write_card,
)


def parts_of(card: dict) -> Iterator[dict]:
    """The entries of a card, and of the models that it was begun from, that list cases."""
    yield from (card[part] for part in ("training", "validation") if (card.get(part) or {}).get("ids_sha256"))
    if parent := (card.get("training") or {}).get("begun from"):
        yield from parts_of(parent)


def complete(path: Path, scans: dict[str, Fingerprint]) -> str:
    """Write the fingerprints into a card; returns what was done in one line."""
    card = json.loads(path.read_text())
    identity = (model_hash if GENERATOR.name in card else segmenter_hash)(card)
    counts = []
    for entry in parts_of(card):
        known = {case_id: scan for case_id, scan in scans.items() if hash_id(case_id) in set(entry["ids_sha256"])}
        if len(known) < len(entry["ids_sha256"]):
            raise SystemExit(
                f"{path}: {len(known)} of {len(entry['ids_sha256'])} cases were found; give their folders."
            )
        entry["fingerprints_sha256"] = used_cases(known)["fingerprints_sha256"]
        counts.append(str(len(known)))
    assert (model_hash if GENERATOR.name in card else segmenter_hash)(card) == identity
    write_card(path, card)
    return f"{path}: fingerprints of {', '.join(counts)} cases; it is still {identity}"


def main() -> None:
    """Read the folders, complete the cards."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--card", action="append", type=Path, help="of a model; may be repeated")
    given = parser.parse_args()
    shipped = {PACKAGED / place / CARD for kind in (GENERATOR, SEGMENTER) for place in kind.shipped.values()}
    scans = {m.id: fingerprint(m.read("ignore").images) for folder in given.data for m in open_set(folder).members}
    for path in given.card or sorted(shipped):
        print(complete(path, scans))


if __name__ == "__main__":
    main()
