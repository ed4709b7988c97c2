"""Everything that others may have written as JSON goes through one check, of the text and of what it says."""

import json
import os

import pytest

from synth.disk.json_files import (
    DIGEST,
    NAME,
    PATH,
    WHOLE,
    Schema,
    check_seal,
    fields,
    mapped,
    optional,
    parse,
    read,
    read_bytes,
    seal,
)
from synth.errors import FileError, SynthError

SCHEMA = Schema(
    "a record", fields({"index": WHOLE, "id": NAME}, {"files": mapped(DIGEST, PATH), "note": optional(NAME)})
)
GOOD = {"index": 3, "id": "Case_1", "files": {"a/b.nii.gz": "0f"}, "note": None}


def test_what_is_sound_passes_as_it_is():
    assert parse(json.dumps(GOOD), SCHEMA) == GOOD
    assert parse(b'{"index": 18446744073709551615, "id": "\\udc80"}', SCHEMA)["id"] == "\udc80"  # a name of odd bytes
    assert parse("[" * 100 + "]" * 100) is not None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"index": -1}, "index must be bigger than or equal to 0, found -1"),
        ({"index": 3.0}, "index must be integer, found 3.0"),
        ({"index": True}, "index must be integer"),
        ({"files": 5}, "files must be object, found 5"),
        ({"id": []}, "id must be string"),
        ({"id": "../up"}, "id must be a plain name"),
        ({"id": ".hidden"}, "id must be a plain name"),
        ({"files": {"../up": "0f"}}, "files must name files inside the folder"),
        ({"files": {"/etc/passwd": "0f"}}, "must name files inside the folder"),
        ({"files": {"a/../../b": "0f"}}, "must name files inside the folder"),
    ],
)
def test_what_is_not_so_is_said_with_its_place(change, said):
    with pytest.raises(ValueError, match="expected a record, but ") as caught:
        parse(json.dumps({**GOOD, **change}), SCHEMA)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *('{"a": NaN}', '{"a": Infinity}', '{"a": 1e999}', '{"a": "\\u0000"}', '{"a": "\\ud800"}', "", "{", b"\xff{}"),
        *(
            '{"a": %s}' % ("9" * 400),
            '{"a": 36893488147419103232}',
            "[" * 101 + "]" * 101,
            "[" * 100_000,
            '{"a":' * 5000,
        ),
    ],
)
def test_what_is_no_sound_text_is_a_value_error(text):
    with pytest.raises(ValueError, match=r"\S"):
        parse(text)


def test_only_regular_files_of_a_size_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(ValueError, match="found a folder, pipe or device"):
            read(path)
    (tmp_path / "large").write_bytes(bytes(1001))
    with pytest.raises(ValueError, match="more than"):
        read_bytes(tmp_path / "large", 1000)
    (tmp_path / "link").symlink_to("large")
    assert len(read_bytes(tmp_path / "link")) == 1001


def test_a_seal_breaks_where_anything_is_changed():
    sealed = parse(json.dumps(seal(GOOD)))
    assert check_seal(sealed) == sealed
    for changed in ({**sealed, "index": 4}, {**sealed, "more": 1}, GOOD, {**sealed, "sha256": "0"}):
        with pytest.raises(ValueError, match="checksum"):
            check_seal(changed)


def test_no_word_of_a_sentence_is_endless():
    said = str(SynthError(f"card.json: found {'x' * 10**6}, not a name; copy it again."))
    assert said.startswith("card.json: found xxx")
    assert said.endswith("not a name; copy it again.")
    assert len(said) < 600
    path = "/".join(["folder"] * 60)
    assert path in str(FileError(path, "is no scan."))
