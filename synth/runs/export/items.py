"""What is exported: the cases of several sets under ids that do not collide, each with whose anatomy is in it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from synth.brats import MODALITIES
from synth.datasets.members import CASE, FilesMember, Member
from synth.datasets.sets import CaseSet
from synth.disk.files import case_path
from synth.disk.manifest import MANIFEST, RUN, read_run
from synth.errors import DataError, printable
from synth.lineage import REAL


@dataclass(frozen=True)
class Item:
    """One case to be exported, not read yet.

    Attributes:
        index: its place among all.
        id: what it is called in the export.
        member: the case.
        real: whether it is a patient's scan.
        patients: whose anatomy is in it; of a painted one those that it descends from, maybe nobody.
        record: what the manifest of its set says of it; empty for a real case without one.
        model: name and hash of the generator that painted it; empty where they are not known.
        root: the folder or file of its set.
    """

    index: int
    id: str
    member: Member
    real: bool
    patients: frozenset[str]
    record: dict[str, Any]
    model: dict[str, str]
    root: Path

    def to_record(self) -> dict[str, Any]:
        """What the export's manifest says of it: its own record, and where it comes from."""
        kept = {key: value for key, value in self.record.items() if key not in ("index", "id", "files", "fingerprint")}
        own = {"index": self.index, "id": self.id, "source": {"set": self.root.name, "id": self.member.id}}
        if self.real:
            return {**own, REAL: True, "patients": sorted(self.patients)}
        return {**kept, **own, "model": self.model}


def collect(
    sets: Sequence[CaseSet],
    real: Sequence[CaseSet],
    numbered: Callable[[int, int], str] | None = None,
    name: Callable[[str], str] = str,
) -> list[Item]:
    """The cases of all sets, in the order given, those of each by id.

    Args:
        sets: painted by synth, or exported before (then real scans may be among them).
        real: folders of real cases.
        numbered: the new id of painted case k of n; None: ids stay.
        name: what becomes of an id in file names.

    Raises:
        DataError: a set is not what it has to be, a case is incomplete, or two have one id.
    """
    items = [item for cases in sets for item in _painted(cases)]
    for cases in real:
        cases.refuse_painted("--real takes scans of patients")
        items += [_item(cases, member, {REAL: True}, {}) for member in cases.members]
    if numbered is not None:
        new = [item for item in items if not item.real]
        ids = {id(item): numbered(k, len(new)) for k, item in enumerate(new)}
        items = [replace(item, id=ids.get(id(item), item.id)) for item in items]
    items = [replace(item, index=index) for index, item in enumerate(items)]
    if not items:
        raise DataError("expected at least one case to export, found none; give a set, or real cases with --real.")
    _refuse_collisions(items, name)
    for item in items:
        case_path(item.root, item.id)  # a plain name, or it is refused
        _refuse_incomplete(item)
    return items


def _painted(cases: CaseSet) -> list[Item]:
    if not cases.members:
        raise DataError(f"{printable(cases.path)}: expected cases, found none; check the path.")
    stranger = next((member for member in cases.members if not cases.claimed(member)), None)
    if stranger is not None:
        raise DataError(
            f"{printable(cases.path)}: expected a set that synth made, found case {printable(stranger.id)} without "
            f"a {MANIFEST}; give real scans with --real, and a set with its manifest."
        )
    model = _model(cases.path)
    return [_item(cases, member, cases.record(member) or {REAL: True}, model) for member in cases.members]


def _item(cases: CaseSet, member: Member, record: dict[str, Any], model: dict[str, str]) -> Item:
    if member.kind != CASE:
        raise DataError(
            f"{printable(member.path)}: expected a case with four modalities, found a {member.kind}; export cases."
        )
    known = record.get("model") or model
    return Item(0, member.id, member, bool(record.get(REAL)), cases.patients(member), record, known, cases.path)


def _model(path: Path) -> dict[str, str]:
    """Name and hash of the generator that a set's settings name; empty where they name none."""
    root = path if path.is_dir() else path.parent
    if not (root / RUN).is_file():
        return {}
    model = read_run(root).get("model")
    return {key: str(model[key]) for key in ("name", "hash") if key in model} if isinstance(model, dict) else {}


def _refuse_collisions(items: Sequence[Item], name: Callable[[str], str]) -> None:
    places: dict[str, Item] = {}
    for item in items:
        key = name(item.id).casefold()  # file systems of macOS and Windows do not tell cases apart
        first = places.setdefault(key, item)
        if first is item:
            continue
        advice = "number the painted cases anew with --prefix (such as --prefix Synth_), or give another --first"
        if first.real and item.real:
            advice = "give each real case once"
        called = "" if first.id == item.id else f" (called {printable(item.id)} and {printable(first.id)})"
        raise DataError(
            f"{printable(item.root)}: case {printable(name(item.id))}{called} is also in {printable(first.root)}; "
            f"expected ids that differ: {advice}."
        )


def _refuse_incomplete(item: Item) -> None:
    """Refuse now, not when all cases before it are done, a case without all its modalities."""
    if isinstance(item.member, FilesMember) and not set(MODALITIES) <= set(item.member.files.paths):
        item.member.read("ignore")  # raises its sentence
