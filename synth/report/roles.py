"""Which real cases the generator was trained on, and which it never saw: told by the user, or by its card."""

import codecs
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from synth.datasets.fingerprint import Fingerprint, same_scan
from synth.datasets.sets import CaseSet
from synth.disk.manifest import RUN, read_run
from synth.errors import DataError, OutputError, printable
from synth.lineage import patient_of
from synth.models.cards import known_cases, names_alone, read_card
from synth.trainers.segmentation.leaks import listed, painter_card


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
    scans: Mapping[str, Fingerprint] | None = None,
) -> Split:
    """Tell training from hold-out cases: by their scans as far as these are known, and by their ids.

    `train_ids` are the training cases, all others are hold-out. Without them the card of the generator that the
    synthetic set names is asked: what it does not list is hold-out, whichever folder it came in. Where there is no
    card, a `holdout` set is hold-out and all others are training cases. Another name of a training scan is a training
    case too; other scans of a training patient are neither.

    Args:
        real: the real cases.
        holdout: those that were given as never seen.
        train_ids: ids of the training cases, where the user knows them.
        synthetic: the set in question.
        generator: folder of the model that painted it, where it does not ship.
        scans: id -> fingerprint, as far as the cases were read.

    Raises:
        DataError: `train_ids` names a case that is not there, or one of the hold-out set.
        ModelError: `generator` is not the model that painted the set.
    """
    held = frozenset(holdout.ids) if holdout else frozenset()
    everything, scans = frozenset(real.ids) | held, scans or {}
    if train_ids is not None:
        named = frozenset(train_ids)
        if unknown := sorted(named - everything):
            raise DataError(f"--train-ids names {listed(unknown)}, not among the real cases; check the ids.")
        if both := sorted(named & held):
            raise DataError(f"--train-ids names {listed(both)}, which the hold-out set holds too; take it out of one.")
        return _grouped(named, everything, f"{len(named)} training cases as named by --train-ids.", scans)
    card, why = _card(synthetic, generator)
    if card is None:
        if holdout:
            if not everything - held:
                raise DataError(
                    f"{printable(holdout.path)}: holds all cases of {printable(real.path)}, and nothing else tells "
                    f"what the generator was trained on ({why}); give other cases as --holdout, or ids as --train-ids."
                )
            return _grouped(everything - held, everything, f"The hold-out set counts as never seen ({why}).", scans)
        return Split(None, held, f"Which real cases the generator was trained on is unknown: {why}.")
    seen, picked = known_cases(card, "training"), known_cases(card, "validation")
    known = frozenset(i for i in everything if seen.has(i, scans.get(i, ())))
    name = printable(str(card.get("name")))
    said = f"The card of the generator {name} lists {len(known)} of the {len(everything)} real cases as trained on."
    if renamed := sorted(i for i in known if not seen.has(i)):
        said += f" {len(renamed)} of them under another name ({listed(renamed)}), known by the scan."
    if sentence := names_alone([card]):
        said += f" {sentence}"
    if wrong := sorted(known & held):
        said += f" {listed(wrong)} of the hold-out set among them: they count as training cases."
    if chosen := [i for i in everything - known if picked.has(i, scans.get(i, ()))]:
        said += f" {len(chosen)} of the others picked its weights, but never trained it."
    return _grouped(known, everything, said, scans)


def _grouped(
    training: frozenset[str], everything: frozenset[str], said: str, scans: Mapping[str, Fingerprint]
) -> Split:
    """All that is not training is hold-out, but for other scans of training patients: they are neither."""
    digests = {digest for i in training for digest in scans.get(i, ())}
    if twins := sorted(i for i in everything - training if same_scan(scans.get(i, ()), digests)):
        said += f" {len(twins)} more ({listed(twins)}) are scans of these under other names: training cases too."
        training = training | set(twins)
    patients = {patient_of(i) for i in training}
    others = frozenset(i for i in everything if i not in training)
    relatives = frozenset(i for i in others if patient_of(i) in patients)
    if relatives:
        said += f" {len(relatives)} further scans of training patients ({listed(sorted(relatives))}) count as neither."
    return Split(frozenset(training), others - relatives, said)


def read_ids(value: str) -> tuple[str, ...]:
    """Ids from a text file (one a line, `#` begins a comment), or from the text itself, separated by commas.

    The file is UTF-8, or UTF-16 with a byte-order mark, as Windows PowerShell writes it; such a mark is no part of an
    id.

    Raises:
        DataError: there is none, or the file cannot be read.
    """
    path = Path(value)
    try:
        text = _text(path.read_bytes()) if _is_file(path) else value.replace(",", "\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{printable(path)}: expected a text file with one id a line ({error}).") from error
    ids = tuple(line.split("#")[0].strip() for line in text.splitlines())
    ids = tuple(i for i in ids if i)
    if not ids:
        raise DataError(f"--train-ids {printable(value)}: expected ids, one a line or separated by commas, found none.")
    return ids


def _text(data: bytes) -> str:
    """Bytes as text, by their byte-order mark if they have one; `UnicodeDecodeError` where they are no text."""
    marked = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16" if marked else "utf-8-sig")
    if "\0" in text:
        raise UnicodeDecodeError("utf-8", data, data.find(b"\0"), data.find(b"\0") + 1, "it holds zero bytes")
    return text


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a long list of ids is no file name
        return False


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
    card = painter_card(root, name, expected, generator)
    if card is not None:
        return card, ""
    return None, f"its generator {printable(str(name))} ({expected}) is not at hand (--generator takes its folder)"
