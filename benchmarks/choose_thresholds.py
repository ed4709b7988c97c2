"""Thresholds of post-processing for a segmenter, chosen on samples painted for the purpose.

For a model trained on all cases there are no held-out ones left; folds cost K trainings. Fresh samples have exact
labels, descend from the training cases alone, and were not trained on.

    synth generate --n 24 --seed 900 --no-scores --out chosen_on
    python benchmarks/choose_thresholds.py chosen_on --model synth/models/weights/segmenter --write
"""

import argparse

from synth.datasets.cases import find_cases, read_case
from synth.models.ensembles import load_segmenter
from synth.models.postprocess import choose
from synth.models.weights import load_segmenter_network, save_segmenter
from synth.quality.segmentation_metrics import measure, summary, table


def main():
    """Print metrics before and after, and write the thresholds to the model's card if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("samples")
    parser.add_argument("--model", required=True)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    segmenter, _ = load_segmenter(given.model)
    pairs = []
    for files in find_cases(given.samples):
        case = read_case(files)
        pairs.append((case.labels, segmenter(case)))
    chosen = choose(pairs)
    print(f"{len(pairs)} samples: {chosen}")
    for title, apply in (("as found", lambda labels: labels), ("post-processed", chosen.apply)):
        print(title)
        print("\n".join(table(summary([measure(truth, apply(found)) for truth, found in pairs]))))
    if given.write:
        network, card = load_segmenter_network(given.model)
        save_segmenter(given.model, network, {**card, "postprocess": chosen.to_dict()})


if __name__ == "__main__":
    main()
