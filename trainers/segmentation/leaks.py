"""Whether a test set is as unseen as it has to be: what is refused, and what can only be said aloud."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from synth.datasets.fingerprint import twin_sentence
from synth.disk.manifest import RUN, read_run
from synth.errors import DataError, ModelError, OutputError, printable
from synth.models.cards import known_cases, model_hash, names_alone, read_card
from synth.trainers.segmentation.annotated import Annotated
from synth.trainers.segmentation.patches import LabelledCase

_NAMES = 3  # cases that a sentence names; more only fill the screen


def refuse_leaks(train: Sequence[Annotated], synthetic: Sequence[Annotated], test: Sequence[Annotated]) -> None:
    """Refuse a test case whose patient is trained on, as a scan or as the ancestor of a synthetic case.

    Raises:
        DataError: that, synthetic cases where real ones are needed, or real ones among the synthetic.
    """
    for cases, what in ((test, "test"), (train, "real training")):
        painted = [case.id for case in cases if case.synthetic]
        if painted:
            raise DataError(
                f"the {what} set holds synthetic cases ({listed(painted)}); usefulness is measured on real scans "
                "against real scans: give folders of real ones."
            )
    refuse_mixed(synthetic)
    tested = {patient: case.id for case in test for patient in case.patients}
    for case in train:
        for patient in case.patients & tested.keys():
            raise DataError(
                f"test case {printable(tested[patient])} is of the same patient as training case {printable(case.id)};"
                " take one of them out: what is tested on must never be trained on."
            )
    for case in synthetic:
        for patient in case.patients & tested.keys():
            raise DataError(
                f"synthetic case {printable(case.id)} descends from the patient of test case "
                f"{printable(tested[patient])}; generate the set anew without that patient, or test on others."
            )


def refuse_mixed(synthetic: Sequence[Annotated]) -> None:
    """Raise `DataError` where some of the cases given as synthetic stand in a manifest of synth's, and others do not.

    A set without any manifest may be another program's; beside painted cases those without are real scans.
    """
    others = [case.id for case in synthetic if not case.synthetic]
    if others and len(others) < len(synthetic):
        raise DataError(
            f"the synthetic set holds {len(synthetic) - len(others)} cases that synth painted and {len(others)} that "
            f"no manifest knows ({listed(others)}), such as real scans; give the synthetic set's own folder."
        )


def refuse_copies(train: Sequence[LabelledCase], test: Sequence[LabelledCase]) -> None:
    """Refuse a test case that is also trained on under another name.

    Args:
        train: prepared cases, real and synthetic.
        test: prepared cases.

    Raises:
        DataError: a modality of two is the same (`datasets.fingerprint`), or brain and labels are, voxel by voxel.
    """
    scans = {digest: case for case in test for digest in case.fingerprint if digest}
    anatomies = {case.anatomy: case for case in test}
    for case in train:
        twin = next((scans[digest] for digest in case.fingerprint if digest in scans), None)
        what = "the same intensities" if twin else "the same brain and labels"
        twin = twin or anatomies.get(case.anatomy)
        if twin is not None:
            raise DataError(
                f"test case {printable(twin.id)} and training case {printable(case.id)} have {what}, "
                "voxel by voxel: they are one scan under two names; take one of them out."
            )


def twin_notes(cases: Sequence[Annotated], what: str = "training cases") -> list[str]:
    """One sentence where some of the cases, whose ids are unique, are one scan under several names; none else."""
    sentence = twin_sentence({case.id: case.fingerprint for case in cases}, what)
    return [sentence] if sentence else []


def lineage_notes(
    folder: str | Path,
    synthetic: Sequence[Annotated],
    train: Sequence[Annotated],
    test: Sequence[Annotated],
    generator: str | Path | None = None,
    subset: Iterable[str] | None = None,
    *,
    named: bool = True,
) -> list[str]:
    """What the synthetic set's generator and ancestors have seen that a reader of the results must know, in sentences.

    Args:
        folder: the synthetic set; its `run.json` names the generator.
        synthetic: its cases.
        train: all real training cases.
        test: the test cases.
        generator: folder of the generator's model, where `run.json` names one that does not ship.
        subset: ids of the real training cases that are used, where it is not all.
        named: whether the sentences may name cases; what is passed on, such as a model's card, must not.

    Raises:
        ModelError: `generator` is not the model that painted the set.
    """
    notes = []
    if not all(case.synthetic for case in synthetic):
        notes.append(f"{folder} has no manifest: whether its cases descend from test patients is unknown.")
    hidden = [case for case in train if subset is not None and case.id not in set(subset)]
    patients = {patient for case in hidden for patient in case.patients}
    heirs = [case.id for case in synthetic if case.patients & patients]
    if heirs:
        notes.append(
            f"{len(heirs)} of {len(synthetic)} synthetic cases descend from real cases that are in the training folder "
            "but not among those used: their anatomy is more than the real arm has."
        )
    return notes + _generator_notes(folder, hidden, test, generator, named)


def _generator_notes(folder, hidden, test, generator, named) -> list[str]:
    root = Path(folder)
    root = root if root.is_dir() else root.parent
    if not (root / RUN).is_file():
        return [f"{folder} has no {RUN}: the generator that painted it, and what that was trained on, are unknown."]
    try:
        painter = read_run(root)["model"]
        name, expected = painter["name"], painter["hash"]
    except (OutputError, KeyError, TypeError) as error:
        raise DataError(
            f"{root / RUN}: names no generator ({error}); give a set that `synth generate` wrote."
        ) from error
    card = painter_card(folder, name, expected, generator)
    if card is None:
        return [
            f"the generator that painted {folder} ({name}, {expected}) is not at hand: whether it was trained on test "
            "patients is unknown; `synth utility --generator` takes its folder."
        ]
    return seen_by_generator(name, card, hidden, test, named=named)


def painter_card(folder: str | Path, name: str, expected: str, generator: str | Path | None) -> dict | None:
    """The card of the generator that painted a set; None where it is not at hand.

    Args:
        folder: the set, for the sentence.
        name: of the generator, as the set's `run.json` has it.
        expected: its hash, likewise.
        generator: folder of its model, where it does not ship.

    Raises:
        ModelError: `generator` is no model, or not the one that painted the set.
    """
    try:
        card = read_card(name if generator is None else generator)
    except ModelError:
        if generator is not None:
            raise
        return None
    if model_hash(card) == expected:
        return card
    if generator is not None:
        raise ModelError(f"model {generator}: is not the one that painted {folder} ({name}, {expected}).")
    return None


def seen_by_generator(
    name: str, card: dict, hidden: Sequence[Annotated], test: Sequence[Annotated], *, named: bool = True
) -> list[str]:
    """What a generator with this card knows of test cases, and of real cases that are there but not used."""
    trained, picked = known_cases(card, "training"), known_cases(card, "validation")
    notes = [sentence] if (sentence := names_alone([card])) else []
    known = [case.id for case in test if trained.has(case.id, case.fingerprint)]
    if known:
        notes.append(
            f"the generator {name} was trained on {len(known)} of {len(test)} test cases{_brackets(known, named)}: the "
            "synthetic arms have seen them, and their scores are too good."
        )
    chosen = [case.id for case in test if case.id not in known and picked.has(case.id, case.fingerprint)]
    if chosen:
        notes.append(
            f"{len(chosen)} of {len(test)} test cases{_brackets(chosen, named)} picked the weights of the generator "
            f"{name}; it was not trained on them."
        )
    more = [case.id for case in hidden if trained.has(case.id, case.fingerprint)]
    if more:
        notes.append(
            f"the generator {name} was trained on {len(more)} real cases of the training folder that are not among "
            "those used: the synthetic arms know more than these few."
        )
    return notes


def _brackets(ids: Sequence[str], named: bool) -> str:
    return f" ({listed(ids)})" if named else ""


def listed(ids: Sequence[str]) -> str:
    """The first few ids, and how many more there are."""
    more = f" and {len(ids) - _NAMES} more" if len(ids) > _NAMES else ""
    return ", ".join(printable(case_id) for case_id in ids[:_NAMES]) + more
