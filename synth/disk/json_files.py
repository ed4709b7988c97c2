"""JSON that somebody else may have written: one check at reading, of the text and of what it says.

The text: a regular file of at most so many bytes, UTF-8, not nested without end, no NaN, no infinity, no number beyond
64 bits, no zero bytes, no half characters. What it says: a JSON Schema (draft 4), which tells types, ranges and names;
`NAME` and `PATH` are those that stay inside a folder. Readers turn the `ValueError` into a sentence of their own.
"""

import json
import math
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from typing import Any

import fastjsonschema

from synth.disk.files import regular
from synth.errors import printable

MOST_BYTES = 1 << 26  # of a file read whole; cards have up to 20 kB, runs of many sources a megabyte
MOST_DEPTH = 100  # of lists and objects in each other; ours have nine, and two more a model that a card was begun from
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89abABcCdDeEfF]")
_LIMIT = 1 << 64
SEAL = "sha256"

Rules = dict[str, Any]
WHOLE: Rules = {"type": "integer", "minimum": 0}
SHARE: Rules = {"type": "number", "minimum": 0, "maximum": 1}
TEXT: Rules = {"type": "string"}
DIGEST: Rules = {"type": "string", "minLength": 1, "maxLength": 200}
NAME: Rules = {"type": "string", "pattern": r"^(?!\.)[^/\\\0]{1,200}\Z"}
PATH = r"^(?!/)(?!(.*/)?\.\.(/|\Z))[^\0]{1,1000}\Z"  # below a folder


def optional(rules: Rules) -> Rules:
    """The rules, or null."""
    kinds = rules["type"] if isinstance(rules["type"], list) else [rules["type"]]
    return {**rules, "type": [*kinds, "null"]}


def listed(items: Rules, least: int = 0, most: int | None = None) -> Rules:
    """A list of such items."""
    return {"type": "array", "items": items, "minItems": least, **({} if most is None else {"maxItems": most})}


def mapped(values: Rules, keys: str = "") -> Rules:
    """An object of such values, whose keys match a pattern."""
    if not keys:
        return {"type": "object", "additionalProperties": values}
    return {"type": "object", "patternProperties": {keys: values}, "additionalProperties": False}


def fields(required: dict[str, Rules], optional: dict[str, Rules] | None = None) -> Rules:
    """An object with these entries; it may have others."""
    return {"type": "object", "required": list(required), "properties": {**required, **(optional or {})}}


@dataclass(frozen=True)
class Schema:
    """What a JSON value has to be.

    Attributes:
        what: it is, with its article, for sentences.
        rules: JSON Schema, draft 4.
    """

    what: str
    rules: Rules

    def check(self, value: Any) -> Any:
        """The value, if it is such a one.

        Raises:
            ValueError: it is not; the message says where and how.
        """
        try:
            return self._compiled(value)
        except fastjsonschema.JsonSchemaValueException as error:
            place = error.name.removeprefix("data").lstrip(".") or "it"
            if place == "it" and error.rule == "type":
                raise ValueError(f"expected a JSON object with {self.what}, found {_told(error.value)}") from None
            reason = error.message.removeprefix(error.name).strip()
            said = f"expected {self.what}, but {printable(place)} {_plain(reason)}, found {_told(error.value)}"
            raise ValueError(said) from None

    @cached_property
    def _compiled(self) -> Callable[[Any], Any]:
        # of draft 4, where 3.0 is no whole number
        return fastjsonschema.compile({"$schema": "http://json-schema.org/draft-04/schema", **self.rules})


def parse(text: bytes | str, schema: Schema | None = None) -> Any:
    """The value of a JSON text, checked.

    Raises:
        ValueError: it is no such JSON.
    """
    if isinstance(text, bytes):
        text = text.decode()
    if not isinstance(text, str):
        raise ValueError(f"no text but a value of type {type(text).__name__}")
    if _depth(text) > MOST_DEPTH:
        raise ValueError(f"more than {MOST_DEPTH} levels of nesting")
    if "\\u0000" in text or "\0" in text:
        raise ValueError("a zero byte in a text")
    value = json.loads(text, parse_constant=_no_number, parse_float=_finite, parse_int=_whole)
    if _SURROGATE.search(text):
        for string in _strings(value):
            os.fsencode(string)  # halves of characters that no file name has raise a `ValueError`
    return value if schema is None else schema.check(value)


def read(path: str | os.PathLike, schema: Schema | None = None, most: int = MOST_BYTES) -> Any:
    """The value of a JSON file, checked.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no such JSON, larger than `most` bytes, or no regular file (which is not opened).
    """
    return parse(read_bytes(path, most), schema)


def seal(content: dict[str, Any]) -> dict[str, Any]:
    """An object with a checksum of all that it says, as `sha256`: whoever changes a part of it is found out."""
    text = json.dumps({key: value for key, value in content.items() if key != SEAL}, sort_keys=True)
    return {**content, SEAL: sha256(text.encode()).hexdigest()}


def check_seal(content: dict[str, Any]) -> dict[str, Any]:
    """The object, if its checksum is that of what it says.

    Raises:
        ValueError: it has none, or another one.
    """
    if content.get(SEAL) != seal(content)[SEAL]:
        raise ValueError("its own checksum is another's: it was changed, or made by an earlier synth")
    return content


def read_bytes(path: str | os.PathLike, most: int = MOST_BYTES) -> bytes:
    """All bytes of a regular file.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is larger than `most` bytes, or no regular file (`files.regular`).
    """
    with open(regular(path), "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        if size > most:
            raise ValueError(f"more than {most >> 20} MB")
        return handle.read(size)  # a buffer of that size, not of `most`


def _depth(text: str) -> int:
    """Levels of nesting, counted without recursion."""
    if text.count("[") + text.count("{") <= MOST_DEPTH:
        return 0
    deepest = depth = 0
    for match in _TOKENS.finditer(text):
        first = match[0][0]
        depth += (first in "[{") - (first in "]}")
        deepest = max(deepest, depth)
    return deepest


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield key
            yield from _strings(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _strings(entry)


def _no_number(name: str) -> Any:
    raise ValueError(f"{name}, which is no number of JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"a number beyond all bounds ({text[:20]})")
    return number


def _whole(text: str) -> int:
    if len(text) > 21 or abs(number := int(text)) >= _LIMIT:
        raise ValueError(f"a whole number beyond 64 bits ({text[:20]}...)")
    return number


def _plain(reason: str) -> str:
    """The library's phrase; what it says of patterns tells people nothing."""
    if "pattern" in reason:
        return "must be a plain name"
    if "must not contain" in reason:
        return "must name files inside the folder"
    return reason


def _told(value: Any, limit: int = 60) -> str:
    text = printable(json.dumps(value, sort_keys=True))
    return text if len(text) <= limit else text[: limit - 1] + "…"
