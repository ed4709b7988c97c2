"""Whose is this folder: one answer, and one form of refusal, for every command that writes.

`OWNERS` says once of each command what it writes and by what its folder is known again; `KINDS` says it of the commands
that write a single file. `claim` and `claim_file` look, refuse, and change nothing: what `--force` deletes is deleted
by `Claim.clear`, after everything else that may be refused has been checked. Whether an earlier run had the same
settings is compared under the folder's lock (`manifest.other_settings`), in the same form of sentence.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import Any

from synth.disk.json_files import parse, read
from synth.disk.lock import FolderLock
from synth.disk.manifest import MANIFEST, RUN
from synth.disk.objects import Objects, refuse_address
from synth.errors import OutputError, printable

SETTINGS = "settings.json"  # of a training run or an experiment, which have no manifest
_HEAD = 65536  # bytes of a file that tell its kind


class Joins(Enum):
    """Whether a command's files may go beside other people's: its folder has no mark, or must not be alone."""

    NEVER = "never"
    FORCED = "with --force"
    ALWAYS = "always"


@dataclass(frozen=True)
class Owner:
    """What a command says of the folders it writes.

    Attributes:
        command: as it is typed.
        what: it writes, with its article.
        mark: the JSON file by which its folder is known again, also one that an earlier version wrote; "": none.
        known: whether the content of that file is this command's.
        resume: whether it has --resume.
        force: what --force does to its earlier output ("replace it"); "": it has no --force.
        goes_on: whether the same command goes on without an option.
        joins: whether its files may go beside other people's.
        beside: names that do not count, with or without the mark: they may come before it.
        alone: names that may be in its folder, where others are refused even beside the mark; None: any.
    """

    command: str
    what: str
    mark: str = ""
    known: Callable[[dict], bool] = lambda content: False
    resume: bool = False
    force: str = ""
    goes_on: bool = False
    joins: Joins = Joins.NEVER
    beside: frozenset[str] = frozenset()
    alone: frozenset[str] | None = None


def _is_painted(run: dict) -> bool:
    # `run.json` is a name that others use too; a set of layouts and segmentations have one, with a format of their own
    return {"synth", "format", "naming", "n"} <= run.keys() and run["format"] not in ("layouts", "segmentations")


GENERATE = Owner(
    "synth generate",
    "a set of cases",
    RUN,
    _is_painted,
    resume=True,
    force="replace it",
    beside=frozenset({"recipes.jsonl"}),  # of --dry-run
)


def _run_of(command: str, what: str, form: str) -> Owner:
    """A resumable run whose settings have a format of their own."""
    return Owner(command, what, RUN, lambda run: run.get("format") == form, resume=True, force="replace it")


LAYOUTS = _run_of("synth layouts", "a set of layouts", "layouts")  # sample and edit: their sets are alike
SEGMENT = _run_of("synth segment", "a set of segmentations", "segmentations")
EXPORT = _run_of("synth export", "an exported set", "export")
EXTRACT = Owner("synth layouts extract", "layouts", force="make them anew", goes_on=True, joins=Joins.ALWAYS)
REPLAY = Owner("synth replay", "samples", force="replace these samples in it", joins=Joins.FORCED)
RECONSTRUCT = Owner(
    "synth reconstruct",
    "a set of reconstructions",
    "reconstruct.json",
    lambda results: "comparisons" in results,
    force="write into it",
    joins=Joins.FORCED,
)
REPORT = Owner(
    "synth report",
    "a report",
    "report.json",
    lambda numbers: numbers.get("schema") == "synth.report",
    force="replace it",
    beside=frozenset({"features"}),
    alone=frozenset({"report.json", "report.html"}),
)
UTILITY = Owner("synth utility", "an experiment", SETTINGS, lambda known: "files of --train" in known, goes_on=True)
TRAIN = Owner("synth train", "a run", SETTINGS, lambda known: isinstance(known.get("train"), dict), goes_on=True)

OWNERS = (GENERATE, LAYOUTS, SEGMENT, EXPORT, EXTRACT, REPLAY, RECONSTRUCT, REPORT, UTILITY, TRAIN)


@dataclass(frozen=True)
class Claim:
    """A folder that a command may write to.

    Attributes:
        out: the folder; it need not exist.
        by: the command.
        replaces: whether it holds an earlier output that --force is to replace.
    """

    out: Path
    by: Owner
    replaces: bool

    def clear(
        self,
        names: Callable[[Path], Iterable[str]],
        beside: Iterable[str] = (),
        parts: Mapping[str, Iterable[str]] = MappingProxyType({}),
        *,
        links: bool = False,
    ) -> None:
        """Delete the run that is to be replaced, if there is one; whatever else is in its folder stays.

        Args:
            names: tells the files to delete, relative to the folder given to it; folders that they leave empty go too.
            beside: further names, deleted with the manifest.
            parts: folders in it that may hold runs of their own, of the same command, each with its `beside`.
            links: the command makes links: those among the names go too, never what they point to.

        Raises:
            OutputError: a run is still writing there; nothing is deleted.
        """
        if not self.replaces:
            return
        with ExitStack() as stack:
            _locked(self.out, stack)
            if not _is_of(self.out, self.by):  # another process has cleared it meanwhile
                return
            places = {place: also for name, also in parts.items() if _is_of(place := self.out / name, self.by)}
            with ExitStack() as inner:
                for place in places:
                    _locked(place, inner)
                for (
                    place,
                    also,
                ) in places.items():  # first: while the run's own settings are there, this can be repeated
                    _remove(place, names, also)
            for place in places:
                if not any(place.iterdir()):
                    place.rmdir()
            _remove(self.out, names, beside, links)


def claim(
    out: str | os.PathLike,
    by: Owner,
    *,
    resume: bool = False,
    force: bool = False,
    beside: Collection[str] = (),
    apart: tuple[str, str | os.PathLike] | None = None,
    reads: Iterable[str | os.PathLike] = (),
) -> Claim:
    """Make sure that a command may write to a folder: new, empty, or its own earlier one; nothing is changed.

    Names that begin with a dot (locks, what a kill left) do not count.

    Args:
        out: the folder.
        by: the command.
        resume: its earlier output there is to be gone on with.
        force: its earlier output there is to be replaced; before `resume`.
        beside: further names in the folder that do not count.
        apart: what the folder must not lie in: how it is called and where it is.
        reads: what the command reads while it writes: none of it may lie in the folder, which `force` clears.

    Raises:
        OutputError: it may not.
    """
    refuse_address(out, OutputError, "only `synth generate` and `synth merge` write to one, so give a folder")
    # "new/.." is this folder as soon as "new" has been made: what is asked is what will be written to
    out, place = Path(out), Path(os.path.realpath(out))
    if apart and place.is_relative_to(os.path.realpath(apart[1])):
        present = "that very folder" if place == Path(os.path.realpath(apart[1])) else "one inside it"
        raise OutputError.unexpected(out, f"a folder apart from {apart[0]}", present, "choose another folder")
    for path in reads:
        if Path(os.path.realpath(path)).is_relative_to(place):
            present = f"{printable(Path(path).name)} in it, which is read"
            raise OutputError.unexpected(out, "a folder apart from what is read", present, "choose another folder")
    if not os.path.isdir(place):
        if os.path.lexists(place) or os.path.lexists(out):
            kind = "a link to nothing" if out.is_symlink() else "something else of this name"
            raise _refusal(out, by, "a file" if os.path.isfile(place) else kind, "choose another folder")
        return Claim(out, by, replaces=False)
    try:
        names = sorted(path.name for path in place.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _refusal(out, by, f"one that cannot be read ({error.strerror})", "check its permissions") from error
    strange = [name for name in names if name not in by.beside and name not in beside]
    owner = _owner(place, first=by)
    if owner is by:
        strange = [name for name in strange if by.alone is not None and name not in by.alone]
        if not strange:
            return _own(out, by, resume=resume, force=force)
    elif owner is not None:
        raise _refusal(out, by, f"{owner.what} that `{owner.command}` wrote", "choose another folder")
    if not strange or by.joins is Joins.ALWAYS or (by.joins is Joins.FORCED and force):
        return Claim(out, by, replaces=False)
    advice = "choose another folder"
    if by.joins is Joins.FORCED:
        advice = f"give --force to {by.force}, or {advice}"
    raise _refusal(out, by, _told(place, by, strange), advice)


def claim_objects(store: Objects, names: Collection[str], by: Owner, *, resume: bool, force: bool) -> bool:
    """As `claim`, for an address: whether an earlier output of the command is there, to be gone on with or replaced.

    A store has no locks: commands that write the same run there at once do the same work twice, and harm nothing.

    Args:
        store: the address.
        names: of all objects there.
        by: the command, whose mark its folder has.
        resume: its earlier output there is to be gone on with.
        force: its earlier output there is to be replaced.

    Raises:
        OutputError: it may not.
    """
    if not names:
        return False
    if by.mark not in names:
        present = f"{len(names)} objects that synth did not write ({printable(min(names))}, ...)"
        raise _refusal(store.address, by, present, "choose another prefix")
    try:
        content: Any = parse(store.read([by.mark])[0])
    except ValueError as error:
        present = f"a {by.mark} that cannot be read ({printable(error)})"
        raise _refusal(store.address, by, present, "choose another prefix") from error
    if not isinstance(content, dict) or not by.known(content):
        raise _refusal(store.address, by, f"a {by.mark} that `{by.command}` did not write", "choose another prefix")
    _own(store.address, by, resume=resume, force=force)
    return True


@dataclass(frozen=True)
class FileKind:
    """What a command says of the single file it writes.

    Attributes:
        command: as it is typed; it has --force.
        what: it writes, with its article.
        known: whether the first bytes of a file are such a one's.
        suffixes: its name must end in one of them; empty: any.
    """

    command: str
    what: str
    known: Callable[[bytes], bool]
    suffixes: tuple[str, ...] = ()


VIEW = FileKind("synth view", "a page", lambda head: b"synth view</title>" in head, (".html", ".htm"))
PICTURE = FileKind("synth layouts show", "a picture", lambda head: head.startswith(b"\x89PNG\r\n"), (".png",))
STATISTICS = FileKind("synth layouts stats", "statistics", lambda head: head.startswith(b'{\n "against":'))
DRY_RUN = FileKind("synth generate --dry-run", "recipes", lambda head: head[:1] == b"{" and b'"index":' in head)

KINDS = (VIEW, PICTURE, STATISTICS, DRY_RUN)


def claim_file(path: str | os.PathLike, kind: FileKind, *, force: bool = False) -> None:
    """Make sure that a command may write a file: a new one, or with `force` in place of one of its kind.

    Nothing else is ever replaced: no folder, no link, no device, no file that this command does not write.

    Raises:
        OutputError: it may not.
    """
    path = Path(path)
    place = Path(os.path.realpath(path.parent)) / path.name
    expected, another = "the name of a new file", "choose another name"
    if place.is_dir():
        raise OutputError.unexpected(path, expected, "a folder", another)
    if kind.suffixes and path.suffix.lower() not in kind.suffixes:
        ending = " or ".join(kind.suffixes)
        raise OutputError.unexpected(path, f"a name ending in {ending}", repr(printable(path.name)), another)
    if not os.path.lexists(place):
        return
    if place.is_symlink() or not place.is_file():
        present = "a link" if place.is_symlink() else "something else of this name"
        raise OutputError.unexpected(path, expected, present, another)
    try:
        with open(place, "rb") as handle:
            head = handle.read(_HEAD)
    except OSError as error:
        raise OutputError.unexpected(path, expected, f"one that cannot be read ({error.strerror})", another) from error
    if head and not kind.known(head):
        raise OutputError.unexpected(path, expected, f"a file that `{kind.command}` did not write", another)
    if not force:
        present = f"{kind.what} that `{kind.command}` wrote" if head else "an empty file"
        raise OutputError.unexpected(path, expected, present, f"give --force to replace it, or {another}")


def _own(out: str | os.PathLike, by: Owner, *, resume: bool, force: bool) -> Claim:
    """The claim on a command's own earlier folder."""
    if by.goes_on or (force and by.force) or (resume and by.resume):
        return Claim(Path(out), by, replaces=bool(force and by.force))
    ways = ["--resume to go on with it"] * by.resume + [f"--force to {by.force}"] * bool(by.force)
    advice = f"give {', '.join(ways)}, or choose another folder"
    raise _refusal(out, by, f"{by.what} that `{by.command}` wrote", advice)


def _refusal(out: str | os.PathLike, by: Owner, present: str, advice: str) -> OutputError:
    expected = "a new or empty folder"
    if by.goes_on:
        expected = f"a new or empty folder or {by.what} to go on with"
    return OutputError.unexpected(out, expected, present, advice)


def _told(place: Path, by: Owner, strange: list[str]) -> str:
    """What a folder holds that is nobody's we know."""
    if by.mark in strange:
        try:
            read(place / by.mark)
        except (OSError, ValueError) as error:
            return f"a {by.mark} that cannot be read ({printable(error)})"
    # what another run of a command without a mark, or a killed one, has left there cannot be told from strangers' files
    whose = "" if by.joins is Joins.FORCED else " that synth did not write"
    count, more = ("an entry", "") if len(strange) == 1 else (f"{len(strange)} entries", ", ...")
    return f"{count}{whose} ({printable(strange[0])}{more})"


def _owner(place: Path, first: Owner) -> Owner | None:
    """The command whose mark is in a folder, `first` before others; None: no command's."""
    return next((owner for owner in (first, *OWNERS) if _is_of(place, owner)), None)


def _is_of(place: Path, owner: Owner) -> bool:
    if not owner.mark or not (place / owner.mark).is_file():
        return False
    try:
        content: Any = read(place / owner.mark)
    except (OSError, ValueError):
        return False
    return isinstance(content, dict) and owner.known(content)


def _locked(folder: Path, stack: ExitStack) -> None:
    """Hold a folder's lock until the stack ends."""
    stack.callback(FolderLock(folder).release)


def _remove(folder: Path, names: Callable[[Path], Iterable[str]], beside: Iterable[str], links: bool = False) -> None:
    """Delete a run, locked by now; the settings last: a removal that is interrupted can be repeated.

    With `links` those of its names that are links go, never what they point to; without, links are not its own.
    """
    root = folder.resolve()
    for name in names(folder):
        path = folder / name
        path = path.parent.resolve() / path.name if links and path.is_symlink() else path.resolve()
        if path.is_relative_to(root) and (path.is_file() or path.is_symlink()):
            path.unlink()
            for place in path.parents:
                if place == root or any(place.iterdir()):
                    break
                place.rmdir()
    for name in (*beside, MANIFEST, RUN):
        (folder / name).unlink(missing_ok=True)
