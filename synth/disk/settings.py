"""Small YAML and JSON files that people write: read safely, refused in one sentence."""

import json
import math
from pathlib import Path
from typing import Any

import yaml

from synth.errors import LayoutError, printable

MAX_BYTES = 65536  # an edit policy of every edit there is takes two thousand
MAX_DEPTH = 12  # of nested lists and mappings; ours have five


def read_settings(path: str | Path, what: str) -> dict[str, Any]:
    """The mapping in a YAML or JSON file.

    Nothing but plain data is read: no objects, no anchors (which can unfold to any size), no key twice.

    Args:
        path: ends in .json for JSON; anything else is read as YAML.
        what: what the file should hold, for the errors: "an edit policy".

    Raises:
        LayoutError: the file is missing, empty, too large, or holds something else than one mapping.
    """
    path = Path(path)
    name = printable(path)
    try:
        if not path.is_file():
            present = "a folder" if path.is_dir() else "nothing"
            raise LayoutError(f"{name}: expected a YAML or JSON file with {what}, found {present}; check the path.")
        with open(path, "rb") as handle:
            data = handle.read(MAX_BYTES + 1)
    except OSError as error:
        raise LayoutError(f"{name}: cannot be read ({error.strerror}); check the path and its permissions.") from error
    if len(data) > MAX_BYTES:
        raise LayoutError(f"{name}: expected {what} of at most {MAX_BYTES // 1024} kB, found more; is it another file?")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LayoutError(f"{name}: expected {what} as UTF-8 text, found other bytes; is it another file?") from error
    if not text.strip():
        raise LayoutError(f"{name}: expected {what}, found an empty file.")
    present = _from_json(text, name, what) if path.suffix.lower() == ".json" else _from_yaml(text, name, what)
    if not isinstance(present, dict):
        raise LayoutError(f"{name}: expected {what}, a mapping at its top, found {short(present)}.")
    return present


def _from_json(text: str, name: str, what: str):
    def unique(pairs):
        keys = [key for key, _ in pairs]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise LayoutError(f"{name}: the key {min(twice)!r} stands twice in one place; keep one.")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise LayoutError(f"{name}: expected {what} as JSON, but it cannot be read ({error}).") from error


def _from_yaml(text: str, name: str, what: str):
    depth = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                raise LayoutError(f"{name}: line {event.start_mark.line + 1} has an alias (*); write it out instead.")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise LayoutError(f"{name}: expected {what}, found more than {MAX_DEPTH} levels of nesting.")
        _check_keys(yaml.compose(text, Loader=yaml.SafeLoader), name)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2024-13-45
        mark = getattr(error, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        reason = " ".join(str(getattr(error, "problem", None) or error).split())
        raise LayoutError(f"{name}: expected {what} as YAML, but it cannot be read ({line}{reason}).") from error


def _check_keys(node, name: str) -> None:
    """Refuse a key that stands twice: YAML would silently take the last."""
    if not isinstance(node.value, list):
        return
    seen = set()
    for child in node.value:
        if not isinstance(child, tuple):
            _check_keys(child, name)
            continue
        key, value = child
        if isinstance(key.value, str):
            if key.value in seen:
                raise LayoutError(f"{name}: line {key.start_mark.line + 1} repeats the key {key.value!r}; keep one.")
            seen.add(key.value)
        _check_keys(value, name)


def is_number(value: Any) -> bool:
    """A finite int or float, no bool."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def short(value: Any, limit: int = 60) -> str:
    """A value as it may stand in a sentence."""
    text = printable(repr(value))
    return text if len(text) <= limit else text[: limit - 3] + "..."
