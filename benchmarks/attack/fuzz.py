"""Attacks on what is read: fuzzed records, headers and caches, and archives made to hurt."""

import contextlib
import copy
import gzip
import io
import itertools
import json
import os
import random
import resource
import shutil
import signal
import struct
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
from blows import MEMORY, Ended, run
from interrupted import Ground, Try
from stage import main_in, painted_set

from synth.disk.json_files import seal

SLOW = 10.0  # CPU-seconds or, waiting, three times as many seconds, after which a try is called a hang
BATCH = 50  # tries in one fork
VALUES = (
    *(
        None,
        True,
        False,
        0,
        -1,
        5,
        1.5,
        10**6,
        2**63,
        2**70,
        -(2**70),
        1e308,
        "",
        "a",
        "..",
        "../../etc",
        "/etc/passwd",
    ),
    *("a\0b", "\ud800", "NaN", "x" * 5000, [], {}, [[]], [None], {"": None}, {"..": "x"}, ["a", 1], float("nan")),
    *(float("inf"), [0] * 1000, {"__proto__": {}}, "\u202e\n\x1b[2J"),
)
Reader = Callable[[], object]


def mutated(text: bytes, dice: random.Random) -> bytes:
    """A JSON text in which something is of another type, out of range, gone, deep, or no JSON at all."""
    kind = dice.randrange(8)
    if kind == 0:  # the bytes themselves
        data = bytearray(text)
        for _ in range(dice.randrange(1, 4)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        return bytes(data)
    if kind == 1:
        return text[: dice.randrange(len(text))]
    value = json.loads(text)
    places = list(_places(value))
    place = dice.choice(places)
    if kind == 2 and place:
        _put(value, place, None, drop=True)
    elif kind == 3:  # as deep as a parser goes, and deeper
        deep = dice.choice((50, 300, 900, 5000, 100_000))
        marker = json.dumps("@deep@")
        _put(value, place, "@deep@") if place else None
        return json.dumps(value).replace(marker, "[" * deep + "]" * deep).encode()
    else:
        value = _put(value, place, copy.deepcopy(dice.choice(VALUES))) if place else dice.choice(VALUES)
    return json.dumps(value).encode()


def _places(value: object, above: tuple = ()) -> Iterator[tuple]:
    yield above
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, entry in inner:
        yield from _places(entry, (*above, key))


def _put(value, place: tuple, new: object, drop: bool = False):
    inner = value
    for key in place[:-1]:
        inner = inner[key]
    if drop:
        del inner[place[-1]]
    else:
        inner[place[-1]] = new
    return value


def batches(ground: Ground, what: str, tries: int, attempt: Callable[[int], str], hang: float = SLOW) -> Iterator[Try]:
    """Make tries in forks of `BATCH`, each alarmed; a try gives its problem, "" for none."""
    told = ground.place / "tried"
    number = 0
    while number < tries:
        told.write_text("")

        def work(first: int = number) -> int:
            resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
            with open(told, "a", buffering=1) as out:
                for k in range(first, min(first + BATCH, tries)):
                    signal.setitimer(signal.ITIMER_PROF, hang)
                    signal.setitimer(signal.ITIMER_REAL, 3 * hang)
                    begin = time.monotonic()
                    problem = attempt(k)
                    signal.setitimer(signal.ITIMER_PROF, 0)
                    signal.setitimer(signal.ITIMER_REAL, 0)
                    out.write(json.dumps([k, problem, time.monotonic() - begin]) + "\n")
            return 0

        ended = run(work, ground.place / "log", hang=3 * BATCH * hang)
        lines = [json.loads(line) for line in told.read_text().splitlines()]
        for k, problem, seconds in lines:
            number = k + 1
            if ended.memory > MEMORY:
                problem = problem or f"batch at {k}: {ended.memory} MiB"
            yield what, problem, Ended(0, seconds, seconds, ended.memory, "")
        if ended.code:
            yield what, f"try {number}: ended with {ended.code}: {ended.said[-300:]}", ended
            number += 1


def quietly(read: Reader) -> str:
    """Call something that may refuse; the problem: an error that is no sentence."""
    from synth.errors import SynthError

    try:
        read()
    except SynthError as error:
        text = str(error)
        return "" if "\n" not in text and len(text) < 4000 else f"no sentence: {text[:200]!r}"
    except BaseException:
        return traceback.format_exc()[-500:]
    return ""


def by_command(ground: Ground, *lines: str) -> Callable[[random.Random], Reader]:
    """Readers that run a command of these, chosen by chance; its output folder is new."""

    def reader(dice: random.Random) -> Reader:
        out = ground.place / "fuzzed"
        shutil.rmtree(out, ignore_errors=True)
        words = dice.choice(lines).format(out=out).split()

        def call() -> None:
            from synth.cli import main

            os.chdir(ground.place)
            with open(os.devnull, "w") as sink, contextlib.ExitStack() as stack:
                stack.enter_context(contextlib.redirect_stdout(sink))
                stack.enter_context(contextlib.redirect_stderr(sink))
                stack.enter_context(contextlib.suppress(SystemExit))
                main(words, prog_name="synth")

        return call

    return reader


def records(ground: Ground, tries: int = 5000) -> Iterator[Try]:
    """JSON that others may have written, read by the commands that read it."""
    place = ground.place
    used = place / "used"
    shutil.copytree(place / "painted", used, dirs_exist_ok=True)
    targets = _targets(ground, used)
    for what, (path, reader) in targets.items():
        good = path.read_bytes()

        def attempt(k: int, path: Path = path, good: bytes = good, reader=reader, what: str = what) -> str:
            dice = random.Random(f"{what} {k}")
            lines = good.splitlines(keepends=True) if path.suffix == ".jsonl" else [good]
            chosen = dice.randrange(len(lines))
            lines[chosen] = mutated(lines[chosen].strip(), dice) + b"\n"
            path.write_bytes(b"".join(lines))
            problem = quietly(reader(dice))
            path.write_bytes(good)
            return problem and f"{what} {k}: {lines[chosen][:200]!r}: {problem}"

        yield from batches(ground, what, tries // len(targets), attempt)
        path.write_bytes(good)


def _targets(ground: Ground, used: Path) -> dict[str, tuple[Path, Callable]]:
    from synth.datasets.layout_files import load_style
    from synth.models import cards
    from synth.models.postprocess import Postprocess
    from synth.report.usefulness.utility import read_utility
    from synth.runs.reconstruct import scales_of
    from synth.trainers.prepared import read_record

    place = ground.place
    for name, line in (("rebuilt", "reconstruct real {} --model generator --quiet"),):
        run(lambda line=line, name=name: main_in(place, line.format(place / name).split()), place / "log")
    arm = {"mean": 0.8, "interval": [0.7, 0.9], "median": 0.82}
    both = {"estimate": 0.9, "interval": [0.8, 1.0]}
    regions = ("WT", "TC", "ET")
    worth = {
        **{"schema": "synth.experiments.utility", "version": 1, "settings": {"steps": 10}, "sizes": {"real": 4}},
        "summary": {name: dict.fromkeys(regions, arm) for name in ("real", "synthetic", "both")},
        **{name: dict.fromkeys(regions, both) for name in ("tstr_ratio", "gain")},
    }
    (place / "worth").mkdir(exist_ok=True)
    (place / "worth/utility.json").write_text(json.dumps(seal(worth)))
    kept = place / "kept"
    kept.mkdir(exist_ok=True)
    np.save(kept / "images.npy", np.zeros((4, 5, 6, 4), np.float16))
    np.save(kept / "codes.npy", np.zeros((4, 5, 6), np.uint8))
    (kept / "case.json").write_text(json.dumps({"id": "A", "fingerprint": ["a"], "warnings": [], "signature": "s"}))

    def card(kind):
        def read(_):
            def call() -> None:
                card = cards.read_card(place / kind.name, kind)
                (cards.model_hash if kind is cards.GENERATOR else cards.segmenter_hash)(card)
                cards.trained_on({"a": ("1",)}, [card])
                cards.names_alone([card])
                cards.known_cases(card, "validation")
                if kind is cards.SEGMENTER:
                    Postprocess.from_card(card)
                else:
                    cards.sees_detail(card)

            return call

        return read

    def whole_utility(_):
        def call() -> None:
            if seal(found := read_utility(place / "worth")[0]) != seal(worth):
                raise AssertionError(f"accepted, though changed: {found}")

        return call

    runs = by_command(
        ground,
        "check used",
        "export used {out} --to nnunet --quiet",
        "replay used --id 0 --out {out} --model generator --data layouts --quiet",
        "generate --n 3 --seed 5 --edits gentle --data layouts --model generator --segmenter segmenter --quiet "
        "--out used --resume",
        "layouts stats used --out {out}.json",
        "check used --json",
    )
    style = next((place / "layouts").glob("*/*_style.json"))
    return {
        "run.json": (used / "run.json", runs),
        "manifest.jsonl": (used / "manifest.jsonl", runs),
        "generator's card": (place / "generator/card.json", card(cards.GENERATOR)),
        "segmenter's card": (place / "segmenter/card.json", card(cards.SEGMENTER)),
        "utility.json": (place / "worth/utility.json", whole_utility),
        "reconstruct.json": (place / "rebuilt/reconstruct.json", lambda _: lambda: scales_of(place / "rebuilt")),
        "style.json": (style, lambda _: lambda: load_style(style.parent)),
        "case.json": (kept / "case.json", lambda _: lambda: read_record(kept, "codes")),
    }


def headers(ground: Ground, tries: int = 5000) -> Iterator[Try]:
    """NIfTI headers with other bytes, dimensions, types, offsets and scales; plain and packed."""
    from synth.datasets.sets import open_set

    place = ground.place / "scans"
    shutil.copytree(ground.place / "real/Real_000", place / "Real_000", dirs_exist_ok=True)
    path = place / "Real_000/Real_000_t1.nii.gz"
    good = gzip.decompress(path.read_bytes())
    whole = path.read_bytes()

    def attempt(k: int) -> str:
        dice = random.Random(k)
        data = bytearray(good)
        kind = dice.randrange(4)
        if kind == 0:
            for _ in range(dice.randrange(1, 12)):
                data[dice.randrange(348)] = dice.randrange(256)
        elif kind == 1:  # dimensions
            place_of, value = 40 + 2 * dice.randrange(8), dice.choice((-1, 0, 1, 2, 7, 8, 512, 513, 32767, -32768))
            data[place_of : place_of + 2] = struct.pack("<h", value)
        elif kind == 2:  # numbers of four bytes
            offset = dice.choice((76, 80, 84, 88, 108, 112, 116, *range(252, 328, 4)))
            number = dice.choice((float("nan"), float("inf"), -1.0, 0.0, 1e30, 1e-30, 353.0, 1e9))
            data[offset : offset + 4] = struct.pack("<f", number)
        else:
            offset = dice.choice((0, 70, 72, 252, 254))
            data[offset : offset + 2] = struct.pack(
                "<h", dice.choice((0, 1, 2, 4, 8, 16, 64, 128, 512, 1792, 2304, -1))
            )
        path.write_bytes(gzip.compress(bytes(data), 1) if dice.randrange(2) else whole[: dice.randrange(len(whole))])
        if dice.randrange(10):
            path.write_bytes(gzip.compress(bytes(data), 1))
        problem = quietly(lambda: open_set(place, scans=True).members[0].read())
        return problem and f"header {k}: {problem}"

    yield from batches(ground, "NIfTI header", tries, attempt)
    path.write_bytes(whole)


def caches(ground: Ground, tries: int = 300) -> Iterator[Try]:
    """What a report keeps of each case, changed: the report says the same as without."""
    place = ground.place
    line = (
        "report --synthetic set --real real --train-ids Real_000,Real_001 --segmenter segmenter --viewer 0 --quiet "
        "--pictures none --cache kept_facts --out {}"
    )

    def report(out: Path) -> Ended:
        shutil.rmtree(out, ignore_errors=True)
        return run(lambda: main_in(place, line.format(out).split()), place / "log")

    def verdicts(out: Path) -> object:
        numbers = json.loads((out / "report.json").read_bytes())
        return numbers["verdicts"], [check["verdict"] for s in numbers["sections"] for check in s["checks"]]

    first = report(place / "judged")
    if first.code:
        raise SystemExit(f"the report fails: {first.said}")
    expected = verdicts(place / "judged")
    files = sorted(path for path in (place / "kept_facts").rglob("*") if path.is_file())
    for k in range(tries):
        dice = random.Random(k)
        path = dice.choice(files)
        good = path.read_bytes()
        path.write_bytes(_changed_record(good, path, dice))
        ended = report(place / "judged")
        problem = ""
        if ended.code or ended.traceback:
            problem = f"{path.name}: {ended.code}: {ended.said[-300:]}"
        elif verdicts(place / "judged") != expected:
            problem = f"{path.name}: other verdicts"
        elif ended.memory > MEMORY:
            problem = f"{path.name}: {ended.memory} MiB"
        path.write_bytes(good)
        yield "report's cache", problem, ended


def _changed_record(good: bytes, path: Path, dice: random.Random) -> bytes:
    if path.suffix == ".json":
        return mutated(good, dice)
    kind = dice.randrange(3)
    if kind == 0:  # other numbers, written as numpy writes them
        with np.load(io.BytesIO(good)) as arrays:
            other = {name: np.full_like(arrays[name], dice.choice((0, 1))) for name in arrays.files}
        packed = io.BytesIO()
        np.savez_compressed(packed, **other)
        return packed.getvalue()
    data = bytearray(good)
    if kind == 1:
        data[dice.randrange(len(data))] ^= 0x55
        return bytes(data)
    return bytes(data[: dice.randrange(len(data))])


def archives(ground: Ground, tries: int = 1000) -> Iterator[Try]:
    """Bombs, links out of a file, damaged HDF5, pipes and devices named like scans."""
    place = ground.place / "hostile"
    makers = [*_hostile_scans(ground), *_hostile_hdf5(ground)]
    lines = (
        "check hostile",
        "segment hostile {out} --model segmenter --quiet",
        "layouts extract hostile {out} --quiet",
    )
    reports = ("report --synthetic hostile --real real --segmenter segmenter --viewer 0 --quiet --out {out}",)
    read = by_command(ground, *lines, *reports, "export --real hostile {out} --to nnunet --quiet")
    pairs = list(itertools.islice(itertools.product(range(5), makers), tries))

    def attempt(k: int) -> str:
        turn, (name, make) = pairs[k]
        shutil.rmtree(place, ignore_errors=True)
        make(place)

        class Turn(random.Random):
            def choice(self, seq):
                return seq[turn]

        problem = quietly(read(Turn()))
        return problem and f"{name}, {(*lines, *reports, 'export')[turn]}: {problem}"

    yield from batches(ground, "archives", len(pairs), attempt)
    shutil.rmtree(place, ignore_errors=True)


def _hostile_scans(ground: Ground) -> Iterator[tuple[str, Callable[[Path], None]]]:
    real = ground.place / "real/Real_000"

    def with_t1(change: Callable[[Path], None]) -> Callable[[Path], None]:
        def make(place: Path) -> None:
            shutil.copytree(real, place / "Real_000")
            path = place / "Real_000/Real_000_t1.nii.gz"
            path.unlink()
            change(path)

        return make

    def bomb(path: Path) -> None:
        header = nib.Nifti1Header()
        header.set_data_dtype(np.int16)
        header.set_data_shape((40, 48, 36))
        block = gzip.compress(bytes(1 << 26), 1)
        with open(path, "wb") as out:  # members one after the other are one stream
            out.write(gzip.compress(header.binaryblock + bytes(4)))
            for _ in range(64):
                out.write(block)

    def claims(path: Path) -> None:
        header = nib.Nifti1Header()
        header.set_data_dtype(np.float64)
        header.set_data_shape((32767, 32767, 32767))
        path.write_bytes(gzip.compress(header.binaryblock + bytes(1000)))

    def plain_in_gz(path: Path) -> None:
        path.with_name("Real_000_t1.nii").write_bytes((real / "Real_000_t1.nii.gz").read_bytes())

    yield "gzip bomb", with_t1(bomb)
    yield "absurd shape", with_t1(claims)
    yield "gzip named .nii", with_t1(plain_in_gz)
    yield "pipe", with_t1(os.mkfifo)
    yield "device", with_t1(lambda path: path.symlink_to("/dev/zero"))
    yield "terminal", with_t1(lambda path: path.symlink_to("/dev/tty"))
    yield "folder", with_t1(lambda path: path.mkdir())
    yield "link to itself", with_t1(lambda path: path.symlink_to(path.name))
    yield "empty", with_t1(lambda path: path.write_bytes(b""))
    yield "zip", with_t1(lambda path: zipfile.ZipFile(path, "w").close())
    yield "socket", with_t1(_socket)


def _socket(path: Path) -> None:
    import socket

    os.chdir(path.parent)  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(path.name)


def _hostile_hdf5(ground: Ground) -> Iterator[tuple[str, Callable[[Path], None]]]:
    def with_file(change: Callable[[h5py.File], None]) -> Callable[[Path], None]:
        def make(place: Path) -> None:
            painted_set(place, 1, "hdf5")
            with h5py.File(place / "synth.h5", "a") as file:
                change(file)

        return make

    def huge(file: h5py.File) -> None:
        group = file["Synth_00000"]
        del group["images"]
        group.create_dataset("images", (1000, 1000, 1000, 4), "<i2", chunks=(32, 32, 32, 4), compression="gzip")

    def external(file: h5py.File) -> None:
        file["Synth_00001"] = h5py.ExternalLink("/etc/passwd", "/images")

    def soft(file: h5py.File) -> None:
        file["Synth_00001"] = h5py.SoftLink("/Synth_00001")

    def loop(file: h5py.File) -> None:
        file["Synth_00000/again"] = file["Synth_00000"]

    def recipe(file: h5py.File) -> None:
        group = file["Synth_00000"]
        for key in list(group.attrs):
            group.attrs[key] = "[" * 5000

    for change in (huge, external, soft, loop, recipe):
        yield f"HDF5, {change.__name__}", with_file(change)

    def flipped(seed: int) -> Callable[[Path], None]:
        def make(place: Path) -> None:
            painted_set(place, 1, "hdf5")
            data, dice = bytearray((place / "synth.h5").read_bytes()), random.Random(seed)
            for _ in range(8):
                data[dice.randrange(min(len(data), 4096))] = dice.randrange(256)
            (place / "synth.h5").write_bytes(data)

        return make

    for seed in range(20):
        yield f"HDF5, flipped {seed}", flipped(seed)
    yield "HDF5, pipe", lambda place: (place.mkdir(), os.mkfifo(place / "synth.h5"))[0]
