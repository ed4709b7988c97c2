"""Find the grain of a trained generator's noise on its training cases and write it into its card.

Usage: python benchmarks/calibrate_grain.py MODEL CASES --cache FOLDER [--cases 8] [--dry-run]

`synth train generator` does this at its end; this is for weights made elsewhere. MODEL is a model's folder, CASES scans
that it was trained on (never those that samples are judged on). At most `--cases` of them are painted, evenly spread.
"""

import argparse
from pathlib import Path

from synth.brats import MODALITIES
from synth.models.cards import CARD, write_card
from synth.models.weights import load_generator
from synth.trainers.painting.patches import prepare_cases
from synth.trainers.painting.validation import calibrate_grain


def main():
    """Prepare, paint at each gain, print and store what is best."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path, metavar="CASES")
    parser.add_argument("--cache", type=Path, required=True, help="for prepared cases; they hold patients' voxels")
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--dry-run", action="store_true", help="leave the card as it is")
    options = parser.parse_args()
    painter, card = load_generator(options.model)
    cases = prepare_cases(options.data, options.cache, detail=painter.sees_detail)
    gains = calibrate_grain(painter, cases[:: -(-len(cases) // options.cases)])
    print("grain gain:", ", ".join(f"{name} {gain:g}" for name, gain in zip(MODALITIES, gains, strict=True)))
    if not options.dry_run:
        write_card(options.model / CARD, {**card, "grain_gain": gains})


if __name__ == "__main__":
    main()
