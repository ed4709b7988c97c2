"""What `synth utility --out` wrote, read and checked."""

import json
from pathlib import Path

import numpy as np

from synth.brats import REGIONS
from synth.errors import DataError, printable
from synth.experiments.utility_result import ARMS, SCHEMA, VERSION


def read_utility(path: str | Path) -> tuple[dict, bytes | None]:
    """What `synth utility --out` wrote, and its plot where there is one.

    Raises:
        DataError: there is no such result, or it is another file's.
    """
    path = Path(path)
    if path.is_dir():
        results = sorted(path.glob("utility*.json"))
        if len(results) > 1:
            names = ", ".join(printable(result.name) for result in results)
            raise DataError(f"{printable(path)}: holds {len(results)} results of `synth utility` ({names}); give one.")
        path = results[0] if results else path / "utility.json"
    try:
        utility = json.loads(path.read_bytes())
        if utility["schema"] != SCHEMA or utility["version"] != VERSION:
            raise ValueError(f"schema {utility['schema']} {utility['version']}")
        _check_result(utility)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(
            f"{printable(path)}: expected utility.json of `synth utility --out` ({error}); give that folder."
        ) from error
    plot = path.with_suffix(".png")
    return utility, plot.read_bytes() if plot.is_file() else None


def _check_result(utility: dict) -> None:
    """Raise on a result that lacks what the section reads."""
    if not isinstance(utility["settings"].get("synthetic", ""), str):
        raise ValueError("settings.synthetic is no text")
    if not all(isinstance(note, str) for note in utility.get("notes", [])):
        raise ValueError("notes are no texts")
    {name: int(n) for name, n in utility["sizes"].items()}
    for name, regions in {**utility["summary"], "tstr_ratio": utility["tstr_ratio"], "gain": utility["gain"]}.items():
        for region in REGIONS:
            scores = regions[region]
            undefined = name in ("tstr_ratio", "gain") and scores["estimate"] is None
            middle = "estimate" if "estimate" in scores else "mean"
            values = [] if undefined else [scores[middle], *scores["interval"]]
            if not undefined and (len(values) != 3 or not np.isfinite(np.array(values, float)).all()):
                raise ValueError(f"{name} of {region} is no number with its interval")
    for arm in ARMS:
        [float(utility["summary"][arm][region]["median"]) for region in REGIONS]
