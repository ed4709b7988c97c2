"""Where the cases of a dataset folder are: by file name alone, in whatever folders people keep them."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from synth.brats import MODALITIES, NAMINGS, Naming
from synth.case import CaseFiles
from synth.datasets.findings import Findings, listing
from synth.datasets.foreign import Foreign
from synth.errors import DataError, printable

QUARANTINE = "quarantine"  # in a run's folder: what its gate refused, not to be mistaken for its cases
CANDIDATES = "SegmentationsForQC"  # in a case's folder: what FeTS found, of which nobody has chosen one yet
# the first two are left behind by zip programs and file systems
_PASSED_OVER = {"__MACOSX", "lost+found", QUARANTINE, CANDIDATES}
_FETS_FLAIR = re.compile(r"(.+_brain)_t2flair\.nii(\.gz)?")  # the one of FeTS's names that no year of BraTS has
_FEW = 32  # files in a folder that may all be of one case
_ALSO_CALLED = {
    "t1": "t1n t1w t1pre t1_pre",
    "t1ce": "t1c t1gd t1_gd ct1 t1ct t1post t1_post t1wce t1w_gd",
    "t2": "t2w",
    "flair": "t2f t2flair t2_flair fla flairw",
}
_AS_MODALITY = {name: modality for modality, names in _ALSO_CALLED.items() for name in (modality, *names.split())}
_AS_SEGMENTATION = re.compile(r"seg|glistr|label|mask|tumou?r|(^|[_-])(ot|gt)([_.-]|$)", re.IGNORECASE)
_OF_TISSUE = re.compile(r"brain|parenchyma|skull|tissue|aparc|aseg|(^|[_-])(wm|gm|csf)([_.-]|$)", re.IGNORECASE)


class ForeignDataError(DataError):
    """A folder holds no BraTS case, but data in a layout that is known by name."""


def find_cases(folder: str | os.PathLike) -> list[CaseFiles]:
    """All cases below a folder, sorted by id: one folder per case, nested folders, or many cases in one folder.

    Both BraTS namings and both of `.nii.gz` and `.nii` are recognised; links are followed, hidden files and what a
    gate put into `quarantine/` are passed over.
    A case may still lack a modality: `cases.read_case` says so.

    Raises:
        DataError: the folder does not exist or holds no case, part of it cannot be listed, or one id appears in two
            places or twice in one place.

    Example:
        >>> find_cases("BraTS2021_TrainingData")[0].paths["t1ce"]  # doctest: +SKIP
        PosixPath('BraTS2021_TrainingData/BraTS2021_00000/BraTS2021_00000_t1ce.nii.gz')
    """
    cases, findings = scan_folder(folder)
    refuse_any(findings)
    return cases


def refuse_any(findings: Findings) -> None:
    """Raise `DataError` with the first error of a set, and how many more there are; nothing where there is none."""
    if errors := findings.errors:
        more = f" ({len(errors) - 1} more; `synth check` lists all.)" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}")


def scan_folder(folder: str | os.PathLike) -> tuple[list[CaseFiles], Findings]:
    """Like `find_cases`, but problems of single cases are returned as findings, not raised.

    FeTS's names (`<id>_brain_t1`, `<id>_final_seg`) are those of the case `<id>`. Where a layout of other people's
    data (`foreign.FAMILIES`) lies beside BraTS cases, a finding says that it is passed over.

    Raises:
        DataError: the folder does not exist, cannot be listed, or holds no case; `ForeignDataError` where it holds
            data in another layout that is known.
    """
    root = Path(folder)
    if not root.is_dir():
        present = "a file" if root.exists() else "nothing"
        raise DataError(f"{printable(root)}: expected the folder of a dataset, found {present}; check the path.")
    findings, foreign = Findings(""), Foreign(root)
    groups = defaultdict(lambda: defaultdict(list))  # (id, folder, naming) -> modality -> paths
    others = []
    for path in _walk(root, findings):
        if parsed := parse_name(path.name):
            case_id, modality, naming = parsed
            groups[case_id, path.parent, naming.name][modality].append(path)
        else:
            foreign.add(path)
            others.append(path)
    _join_fets(groups)
    _pass_over_candidates(groups)
    complete = {key[0] for key, files in groups.items() if files.keys() >= set(MODALITIES)}
    for key in [key for key in groups if key[0] in foreign.ids - complete]:
        del groups[key]  # some files of a foreign case are named as BraTS's: half a case
    foreign.leave(complete, {where for _, where, _ in groups})
    if not groups:
        if findings:
            raise DataError(str(findings[0]))
        if known := foreign.sentences():
            raise ForeignDataError(f"{printable(root)}: no BraTS case found; {' '.join(known)}")
        raise DataError(_no_case(root, others))
    for sentence in foreign.sentences(beside=True):
        findings.warning(root, f"passed over: {sentence}")
    _find_duplicates(groups, findings)
    cases = [
        CaseFiles(case_id, where, NAMINGS[naming], {modality: paths[0] for modality, paths in files.items()})
        for (case_id, where, naming), files in groups.items()
    ]
    return sorted(cases, key=lambda case: (case.id, case.folder)), findings


def parse_name(name: str) -> tuple[str, str, Naming] | None:
    """Case id, modality (or "seg") and convention of a file name; None for one that no convention has."""
    for naming in NAMINGS.values():
        if parsed := naming.parse(name):
            return *parsed, naming
    if match := _FETS_FLAIR.fullmatch(name):
        return match[1], "flair", NAMINGS["brats2020"]
    return None


def modality_called(name: str) -> str | None:
    """The modality that people call so, such as "T1Gd" or "FLAIR"; None for other names."""
    return _AS_MODALITY.get(name.strip().lower())


def nearly_named(files: CaseFiles) -> tuple[dict[str, list[str]], list[str]]:
    """What lies beside the files of a case and may be of it under another name.

    Returns:
        For each modality (and "seg") that the case lacks the file names that most likely are it, as far as there are
        any; and the NIfTI files beside it that are of no case, whatever they are.
    """
    names = [n for n in os.listdir(files.folder) if n.endswith((".nii", ".nii.gz")) and not n.startswith(".")]
    if not (few := len(names) <= _FEW):
        names = [name for name in names if name.startswith(files.id)]
    names.sort()
    parsed = {name: parse_name(name) for name in names}
    scanned = {known[0] for known in parsed.values() if known and known[1] != "seg"}
    own, taken = {files.id, f"{files.id}_brain"}, {path.name for path in files.paths.values()}
    alone = few and scanned <= own
    beside, likely = [], defaultdict(list)
    for name in names:
        known = parsed[name]
        begins = re.match(rf"{re.escape(files.id)}[_.-]", name)
        if name in taken or not (alone or begins) or (known and known[0] in scanned | own):
            continue
        if known is None:
            beside.append(name)
        stem = name.removesuffix(".gz").removesuffix(".nii").lower()
        rest = stem[len(files.id) + 1 :] if begins else stem
        meant = _AS_MODALITY.get(rest)
        if meant is None and _AS_SEGMENTATION.search(rest) and not _OF_TISSUE.search(rest):
            meant = "seg"
        if meant and meant not in files.paths:
            likely[meant].append(name)
    best = {meant: min(map(_doubt, found)) for meant, found in likely.items()}
    return {meant: [n for n in found if _doubt(n) == best[meant]] for meant, found in likely.items()}, beside


def _doubt(name: str) -> int:
    """Sorts the segmentations of a case: those that people corrected or chose first, a program's drafts last."""
    chosen, draft = (re.search(words, name, re.IGNORECASE) for words in ("final|manual|correct", "auto|approx"))
    return bool(draft) - bool(chosen)


def _join_fets(groups: dict) -> None:
    """Put `<id>_brain_*` and `<id>_final_seg` under `<id>`, where nothing else has that id."""
    ids = {case_id for case_id, _, _ in groups}
    joined = set()
    for key in list(groups):
        case_id = key[0].removesuffix("_brain")
        if case_id != key[0] and case_id not in ids and "seg" not in groups[key]:
            groups[(case_id, *key[1:])].update(groups.pop(key))
            joined.add(case_id)
    for key in list(groups):
        case_id = key[0].removesuffix("_final")
        if case_id in joined and case_id != key[0] and groups[key].keys() == {"seg"}:
            groups[(case_id, *key[1:])].update(groups.pop(key))


def _pass_over_candidates(groups: dict) -> None:
    """Drop `<id>_something_seg` beside the scans of `<id>` that have no segmentation: it is no case of its own."""
    bare = {key for key, files in groups.items() if "seg" not in files}
    for key in [key for key, files in groups.items() if files.keys() == {"seg"}]:
        case_id = key[0]
        if any((case_id[: match.start()], *key[1:]) in bare for match in re.finditer(r"[_.-]", case_id)):
            del groups[key]


def _walk(root: Path, findings: Findings) -> Iterator[Path]:
    """Every file below `root`, in a fixed order, each real folder once: so a loop of links comes to an end."""
    seen = set()
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            names = sorted(os.listdir(folder))
        except OSError as error:
            findings.error(folder, f"the folder cannot be listed ({error.strerror}); check its permissions.")
            continue
        below = []
        for name in names:
            path = folder / name
            if name.startswith(".") or name in _PASSED_OVER:
                continue
            if path.is_dir() and not parse_name(name):
                below.append(path)
            else:
                yield path  # a folder with a scan's name too: reading it tells the user what is wrong
        pending.extend(reversed(below))


def _find_duplicates(groups: dict, findings: Findings) -> None:
    places = defaultdict(list)
    for (case_id, folder, naming), files in groups.items():
        places[case_id].append((folder, naming))
        for modality, paths in files.items():
            if len(paths) > 1:
                findings.case = case_id
                findings.error(
                    paths[0],
                    f"the {modality} of this case is there twice, also as {printable(paths[1].name)}; keep one.",
                )
    for case_id, where in places.items():
        if len(where) == 1:
            continue
        findings.case = case_id
        first, second = where[0], where[1]
        if first[0] == second[0]:
            present = "with both the names of 2017-2021 and those of 2023"
        else:
            present = f"here and in {printable(second[0])}"
        more = f" and {len(where) - 2} more places" if len(where) > 2 else ""
        findings.error(
            first[0],
            f"expected all files of case {printable(case_id)} in one place, found files {present}{more}; "
            "put them together, remove the copy, or give different cases different ids.",
        )


def _kind(path: Path) -> str:
    return "NIfTI file" if path.name.endswith((".nii", ".nii.gz")) else "other file"


def _no_case(root: Path, paths: list[Path]) -> str:
    """The sentence for a folder without a case: what was looked for, what is there instead."""
    wanted = " or ".join(
        f"<id>{naming.separator}{{{','.join(naming.suffixes[m] for m in MODALITIES)}}}.nii.gz"
        for naming in NAMINGS.values()
    )
    paths = sorted(paths, key=_kind)  # NIfTI files first: they tell most
    counts = " and ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in sorted(Counter(map(_kind, paths)).items()))
    present = f"{counts} ({listing([str(path.relative_to(root)) for path in paths])})" if paths else "no file at all"
    return (
        f"{printable(root)}: no BraTS case found; looked for {wanted} in it and all folders below, found {present}."
        f"{_rename(paths)}"
    )


def _rename(paths: list[Path]) -> str:
    """A sentence more, where the first file has the name of a modality in another convention."""
    for path in paths[:1]:
        stem, dot, suffix = path.name.partition(".nii")
        for case_id, _, rest in ((stem[: m.start()], m, stem[m.end() :]) for m in re.finditer(r"[_-]", stem)):
            if modality := _AS_MODALITY.get(rest.lower()):
                names = f"{printable(path.name)} looks like the {modality} of {printable(case_id)}"
                return f" {names}: name it {printable(case_id)}_{modality}{dot}{suffix}."
    return ""
