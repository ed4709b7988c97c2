"""What `synth utility --out` wrote, read and checked."""

import io
from pathlib import Path

from PIL import Image

from synth.brats import REGIONS
from synth.disk.json_files import (
    SHARE,
    TEXT,
    WHOLE,
    Rules,
    Schema,
    check_seal,
    fields,
    listed,
    optional,
    read,
    read_bytes,
)
from synth.errors import DataError, printable
from synth.experiments.utility_result import ARMS, COMPARISONS, SCHEMA, VERSION

_NUMBER: Rules = {"type": "number", "minimum": -1000, "maximum": 1000}  # a ratio to nearly nothing is large
_ARM = fields({"mean": SHARE, "median": SHARE, "interval": listed(SHARE, 2, 2)})
_COMPARISON = fields({"estimate": optional(_NUMBER), "interval": optional(listed(_NUMBER, 2, 2))})
_RESULT = Schema(
    "utility.json of `synth utility --out`",
    fields(
        {
            "schema": {"enum": [SCHEMA]},
            "version": {"enum": [VERSION]},
            "settings": fields({}, {"synthetic": TEXT}),
            "sizes": {"type": "object", "additionalProperties": WHOLE},
            "summary": fields(dict.fromkeys(ARMS, fields(dict.fromkeys(REGIONS, _ARM)))),
            **dict.fromkeys(COMPARISONS, fields(dict.fromkeys(REGIONS, _COMPARISON))),
        },
        {"notes": listed(TEXT)},
    ),
)
_MOST_PIXELS = 1 << 24  # of the plot, which has half a million


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
        utility = check_seal(read(path, _RESULT))
        _check_order(utility)
    except (OSError, ValueError) as error:
        raise DataError(
            f"{printable(path)}: expected utility.json of `synth utility --out` ({error}); give that folder, or the "
            "command again: it goes on."
        ) from error
    return utility, _plot(path.with_suffix(".png"))


def _check_order(utility: dict) -> None:
    """Raise `ValueError` where an interval is none, or is not there though its estimate is."""
    for name in (*ARMS, *COMPARISONS):
        for region, row in (utility["summary"][name] if name in ARMS else utility[name]).items():
            middle, interval = row.get("estimate", row.get("mean")), row["interval"]
            if (middle is None) != (interval is None) or (interval and not interval[0] <= middle <= interval[1]):
                raise ValueError(f"{name} of {printable(region)} is no number with its interval")


def _plot(path: Path) -> bytes | None:
    """The picture beside a result.

    Raises:
        DataError: it is none.
    """
    if not path.exists():
        return None
    try:
        plot = read_bytes(path)
        with Image.open(io.BytesIO(plot), formats=("PNG",)) as image:
            if image.width * image.height > _MOST_PIXELS:
                raise ValueError(f"{image.width} x {image.height} pixels")
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        said = f"expected the plot of `synth utility --out`, found no such picture ({printable(error)})"
        raise DataError(f"{printable(path)}: {said}; delete it or draw it anew.") from error
    return plot
