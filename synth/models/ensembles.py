"""Which segmenter a user means: a model or all folds of a training run."""

from pathlib import Path
from typing import TYPE_CHECKING

from synth.errors import ModelError
from synth.models.cards import CARD

if TYPE_CHECKING:
    from synth.models.sliding_window import Segmenter

FOLDS = "folds.json"  # a run with folds writes it when all are trained and their thresholds chosen


def load_segmenter(
    model: str | Path | None = None, *, ensemble: bool = False, mirror: str = "none", overlap: float = 0.5
) -> tuple["Segmenter", list[dict]]:
    """A `models.sliding_window.Segmenter` of one model or of all folds of a training run, and the cards.

    Raises:
        ModelError: no such model, folds missing or of different windows, or damaged weights.
    """
    from synth.models.runtime import repeatable  # TensorFlow, and its seconds, only now
    from synth.models.sliding_window import Segmenter
    from synth.models.weights import load_segmenter_network

    repeatable()
    name = "default" if model is None else model
    loaded = [
        load_segmenter_network(folder) for folder in (_folds(Path(name)) if ensemble else [segmenter_folder(name)])
    ]
    cards = [card for _, card in loaded]
    windows = sorted({str(card.get("window")) for card in cards})
    if len(windows) > 1:
        raise ModelError(
            f"model {name}: expected folds with windows of one size, found {', '.join(windows)} voxels; they come from "
            "different trainings: train them again."
        )
    window = cards[0].get("window")
    if not isinstance(window, int) or window < 16 or window % 16:
        raise ModelError(
            f"model {name}: expected a window of a multiple of 16 voxels in its card, found {window!r}; copy the "
            "model folder again."
        )
    return Segmenter([network for network, _ in loaded], window, overlap=overlap, mirror=mirror), cards


def segmenter_folder(model: str | Path) -> str | Path:
    """The model itself.

    Raises:
        ModelError: it is the folder of a training run, which holds the model.
    """
    inner, fold = Path(model) / "model", Path(model) / "fold_0"
    if not (Path(model) / CARD).is_file():
        if (inner / CARD).is_file():
            raise ModelError(f"model {model}: is the folder of a training run; its model is {inner}: give that.")
        if fold.is_dir():
            raise ModelError(
                f"model {model}: is a training run with folds; give --ensemble to average them, or one fold's model "
                f"({fold / 'model'})."
            )
    return model


def _folds(run: Path) -> list[Path]:
    """The model folders of all folds of a training run, in their order."""
    numbers = sorted(int(path.name[5:]) for path in run.glob("fold_*") if path.name[5:].isdigit())
    if not numbers:
        raise ModelError(
            f"model {run}: expected the folder of `synth train segmenter --folds` with fold_0, fold_1, ..., found no "
            "fold; give that folder, or leave --ensemble out."
        )
    folders = [run / f"fold_{number}" / "model" for number in range(numbers[-1] + 1)]
    missing = [path for path in (*(folder / CARD for folder in folders), run / FOLDS) if not path.is_file()]
    if missing:
        raise ModelError(
            f"model {run}: its folds are not trained to the end (no {missing[0]}); give the training command again, it "
            "goes on where it stopped."
        )
    return folders
