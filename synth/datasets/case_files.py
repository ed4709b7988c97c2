"""Where the cases of a dataset folder are: by file name alone, in whatever folders people keep them."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from synth.brats import MODALITIES, NAMINGS
from synth.case import CaseFiles
from synth.datasets.findings import Findings, listing
from synth.errors import DataError, printable

QUARANTINE = "quarantine"  # in a run's folder: what its gate refused, not to be mistaken for its cases
_PASSED_OVER = {"__MACOSX", "lost+found", QUARANTINE}  # left behind by zip programs and file systems, never data


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
    """Raise `DataError` with the first finding of a set, and how many more there are; nothing where there is none."""
    if findings:
        more = f" ({len(findings) - 1} more; `synth check` lists all.)" if len(findings) > 1 else ""
        raise DataError(f"{findings[0]}{more}")


def scan_folder(folder: str | os.PathLike) -> tuple[list[CaseFiles], Findings]:
    """Like `find_cases`, but problems of single cases are returned as findings, not raised.

    Raises:
        DataError: the folder does not exist, cannot be listed, or holds no case.
    """
    root = Path(folder)
    if not root.is_dir():
        present = "a file" if root.exists() else "nothing"
        raise DataError(f"{printable(root)}: expected the folder of a dataset, found {present}; check the path.")
    findings = Findings("")
    groups = defaultdict(lambda: defaultdict(list))  # (id, folder, naming) -> modality -> paths
    others = Counter()
    other_names = []
    for path in _walk(root, findings):
        for naming in NAMINGS.values():
            if parsed := naming.parse(path.name):
                groups[parsed[0], path.parent, naming.name][parsed[1]].append(path)
                break
        else:
            others[_kind(path)] += 1
            other_names.append(path)
    if not groups:
        raise DataError(str(findings[0]) if findings else _no_case(root, others, other_names))
    _find_duplicates(groups, findings)
    cases = [
        CaseFiles(case_id, where, NAMINGS[naming], {modality: paths[0] for modality, paths in files.items()})
        for (case_id, where, naming), files in groups.items()
    ]
    return sorted(cases, key=lambda case: (case.id, case.folder)), findings


def unrecognised(files: CaseFiles) -> list[str]:
    """Names of NIfTI files beside a case's that belong to no case: perhaps a modality under another name."""
    return [
        name
        for name in sorted(os.listdir(files.folder))
        if name.endswith((".nii", ".nii.gz"))
        and not name.startswith(".")
        and not any(naming.parse(name) for naming in NAMINGS.values())
    ]


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
            if path.is_dir() and not any(naming.parse(name) for naming in NAMINGS.values()):
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


def _no_case(root: Path, others: Counter, paths: list[Path]) -> str:
    """The sentence for a folder without a case: what was looked for, what is there instead."""
    wanted = " or ".join(
        f"<id>{naming.separator}{{{','.join(naming.suffixes[m] for m in MODALITIES)}}}.nii.gz"
        for naming in NAMINGS.values()
    )
    paths = sorted(paths, key=_kind)  # NIfTI files first: they tell most
    counts = " and ".join(f"{n} {kind}{'s' if n > 1 else ''}" for kind, n in sorted(others.items()))
    present = f"{counts} ({listing([str(path.relative_to(root)) for path in paths])})" if paths else "no file at all"
    return f"{printable(root)}: no BraTS case found; looked for {wanted} in it and all folders below, found {present}."
