"""Which real cases the generator was trained on, and which it never saw: told by the user, or by its card."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from synth.case_files import hash_id
from synth.errors import DataError, ModelError, OutputError, printable
from synth.manifest import RUN, read_run
from synth.models.weights import model_hash, read_card
from synth.report.sources import CaseSet

_SHOWN = 3


@dataclass(frozen=True)
class Split:
    """Ids by what the generator knows of them.

    Attributes:
        training: what it was trained on; None where nothing tells.
        holdout: what it never saw.
        said: how that is known, sentences.
    """

    training: frozenset[str] | None
    holdout: frozenset[str]
    said: str


def split_real(
    real: CaseSet,
    holdout: CaseSet | None,
    train_ids: Collection[str] | None,
    synthetic: CaseSet,
    generator: str | Path | None = None,
) -> Split:
    """Tell training from hold-out cases.

    What the user says counts: `train_ids` are the training cases, all others are hold-out; a `holdout` set is hold-out,
    all others are training cases. Without either, the card of the generator that the synthetic set names is asked.

    Raises:
        DataError: `train_ids` names a case that is not there, or one of the hold-out set.
        ModelError: `generator` is not the model that painted the set.
    """
    held = frozenset(holdout.ids) if holdout else frozenset()
    everything = frozenset(real.ids) | held
    if train_ids is not None:
        named = frozenset(train_ids)
        if unknown := sorted(named - everything):
            raise DataError(f"--train-ids names {_listed(unknown)}, not among the real cases; check the ids.")
        if both := sorted(named & held):
            raise DataError(f"--train-ids names {_listed(both)}, which the hold-out set holds too; take it out of one.")
        return Split(named, everything - named, f"{len(named)} training cases as named by --train-ids.")
    card, why = _card(synthetic, generator)
    if card is None:
        if holdout:
            return Split(everything - held, held, f"The hold-out set counts as never seen ({why}).")
        return Split(None, held, f"Which real cases the generator was trained on is unknown: {why}.")
    seen, picked = _ids(card, "training"), _ids(card, "validation")
    known = frozenset(i for i in everything if hash_id(i) in seen)
    name = printable(str(card.get("name")))
    said = f"The card of the generator {name} lists {len(known)} of the {len(everything)} real cases as trained on."
    if wrong := sorted(known & held):
        said += f" {_listed(wrong)} of the hold-out set among them: they count as training cases."
    # cases that the card does not know are hold-out for this generator, whatever folder they came in
    free = everything - known
    if chosen := [i for i in free if hash_id(i) in picked]:
        said += f" {len(chosen)} of the others picked its weights, but never trained it."
    if not known:
        return Split(everything - held if holdout else frozenset(), free if not holdout else held, said)
    return Split(known, free, said)


def read_ids(value: str) -> tuple[str, ...]:
    """Ids from a text file (one a line, `#` begins a comment), or from the text itself, separated by commas.

    Raises:
        DataError: there is none, or the file cannot be read.
    """
    path = Path(value)
    try:
        text = path.read_text(encoding="utf-8") if path.is_file() else value.replace(",", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(path)}: expected a text file with one id a line ({error}).") from error
    ids = tuple(line.split("#")[0].strip() for line in text.splitlines())
    ids = tuple(i for i in ids if i)
    if not ids:
        raise DataError(f"--train-ids {printable(value)}: expected ids, one a line or separated by commas, found none.")
    return ids


def _card(synthetic: CaseSet, generator: str | Path | None) -> tuple[dict | None, str]:
    """The card of the generator that painted the set, or None and why there is none."""
    root = synthetic.path if synthetic.path.is_dir() else synthetic.path.parent
    if not (root / RUN).is_file():
        if generator is not None:
            return read_card(generator), ""
        return None, f"{printable(root)} has no {RUN} that names one"
    try:
        model = read_run(root)["model"]
        name, expected = model["name"], model["hash"]
    except (OutputError, KeyError, TypeError) as error:
        if generator is not None:
            return read_card(generator), ""
        return None, f"{printable(root / RUN)} names no generator ({type(error).__name__})"
    try:
        card = read_card(name if generator is None else generator)
    except ModelError:
        if generator is not None:
            raise
        return None, f"its generator {printable(str(name))} is not at hand (--generator takes its folder)"
    if model_hash(card) == expected:
        return card, ""
    if generator is not None:
        raise ModelError(f"model {generator}: is not the one that painted {root} ({name}, {expected}).")
    return None, f"its generator {printable(str(name))} ({expected}) is not at hand (--generator takes its folder)"


def _ids(card: dict, part: str) -> set[str]:
    """The hashed ids that a model, and the models it was begun from, used."""
    known = card.get(part) or {}
    parent = (card.get("training") or {}).get("begun from") or {}
    return set(known.get("ids_sha256") or ()) | (_ids(parent, part) if parent else set())


def _listed(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return ", ".join(printable(one) for one in ids[:_SHOWN]) + more
