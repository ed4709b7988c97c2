"""What every training run keeps: its settings, and what its card says of where it comes from."""

import json
import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

from synth import __version__
from synth.brats import MODALITIES, NAMINGS
from synth.disk.claim import SETTINGS, TRAIN, claim
from synth.disk.files import atomic_write, make_folder
from synth.disk.json_files import read
from synth.errors import ModelError

CITATIONS = (
    "Cirillo et al. 2020, Vox2Vox, arXiv:2003.13653",
    "Isola et al. 2017, pix2pix, arXiv:1611.07004",
    "Menze et al. 2015, BraTS, doi:10.1109/TMI.2014.2377694",
    "Bakas et al. 2017, doi:10.1038/sdata.2017.117",
    "Baid et al. 2021, arXiv:2107.02314",
    "Rohlfing et al. 2010, SRI24, doi:10.1002/hbm.20906",
)
_FREE = ("steps", "validate_every", "checkpoint_every", "log_every")  # how long and how often may change


def keep_settings(out: Path, config: Any, **also: Any) -> None:
    """Write a run's settings into its folder, or make sure that they are those it was begun with.

    Args:
        out: the run's folder; made if it is not there.
        config: a dataclass with a `TrainConfig` as `train`.
        also: further JSON-able settings.

    Raises:
        ModelError: the run there has other settings of what is learnt.
        OutputError: the folder holds other files, or settings that cannot be read.
    """
    claim(out, TRAIN)
    path, wanted = out / SETTINGS, json.loads(json.dumps({**asdict(config), **also}))
    if path.is_file():
        known = read(path)  # the claim has read it: it is whole, and a training's
        for part in (known, wanted):
            for free in _FREE:
                part["train"].pop(free, None)
        if known != wanted:
            keys = sorted(k for k in known.keys() | wanted.keys() if known.get(k) != wanted.get(k))
            raise ModelError(
                f"{out}: holds a run with other settings of {', '.join(keys)}; give the same ones to go on with it, "
                "or another --out."
            )
        return
    make_folder(out)
    with atomic_write(path) as handle:
        handle.write((json.dumps(wanted, indent=1) + "\n").encode())


def origin() -> dict[str, Any]:
    """The entries of every card: versions, conventions, sources."""
    return {
        "synth": __version__,
        "git": _git_version(),
        "labels": {
            "in memory": "tissue 1 CSF, 2 GM, 3 WM; tumour 1 NCR, 2 ED, 3 ET",
            "on disk": {n.name: list(n.label_values) for n in NAMINGS.values()},
        },
        "modalities": list(MODALITIES),
        "citations": list(CITATIONS),
    }


def _git_version() -> str | None:
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            timeout=5,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
