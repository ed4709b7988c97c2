"""Fit the weights of `synth.datasets.voxels.modalities` on training cases, and say how they do on cases left out.

    python benchmarks/fit_modality_judge.py DATA   # DATA has brats/train; brats/val is never read

A logistic choice: of the 24 orders of a case's modalities the true one is to have the highest score.
"""

import argparse
from pathlib import Path

import numpy as np
from scipy.optimize import minimize

from synth.brats import MODALITIES
from synth.datasets.cases import find_cases, read_case
from synth.datasets.voxels.modalities import ORDERS, PAIRS, traits
from synth.datasets.voxels.sample import sample

RIDGE = 0.05  # on weights of standardised traits


def rows(found) -> np.ndarray:
    """(24, 32): for each order the traits as each name, then as each pair of names, would have them."""
    return np.array(
        [
            np.concatenate([found.own[list(order)].ravel(), *(found.pair[order[a], order[b]] for a, b in PAIRS)])
            for order in ORDERS
        ]
    )


def fit(cases: np.ndarray) -> np.ndarray:
    """(32,) weights from (n, 24, 32) rows whose first order is the true one."""
    spread = (cases - cases.mean(1, keepdims=True)).std((0, 1)) + 1e-9
    scaled = cases / spread

    def loss(weights):
        total = scaled @ weights
        total -= total.max(1, keepdims=True)
        odds = np.exp(total)
        chance = odds / odds.sum(1, keepdims=True)
        slope = ((chance[..., None] * scaled).sum(1) - scaled[:, 0]).sum(0)
        return -np.log(chance[:, 0]).sum() + RIDGE * weights @ weights, slope + 2 * RIDGE * weights

    return minimize(loss, np.zeros(cases.shape[2]), jac=True, method="L-BFGS-B").x / spread


def margins(cases: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(n,) by how much the true order beats the best of the others."""
    total = cases @ weights
    return total[:, 0] - total[:, 1:].max(1)


def main() -> None:
    """Print the margins with each case left out, and the weights of all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    files = find_cases(parser.parse_args().data / "brats" / "train")
    cases = np.array([rows(traits(sample(read_case(f, labels="ignore").images))) for f in files])
    left_out = [margins(cases[[i]], fit(np.delete(cases, i, 0)))[0] for i in range(len(cases))]
    for file, margin in sorted(zip(files, left_out, strict=True), key=lambda pair: pair[1])[:5]:
        print(f"{margin:6.2f}  {file.id}")
    print(f"left out: {np.mean(np.array(left_out) > 0):.3f} right, median margin {np.median(left_out):.2f}")
    own, pair = np.split(fit(cases), [len(MODALITIES) * 5])
    for name, table in (("OWN_WEIGHTS", own.reshape(-1, 5)), ("PAIR_WEIGHTS", pair.reshape(-1, 2))):
        print(f"{name} = np.array(\n    [")
        for row in table:
            print(f"        [{', '.join(f'{v:.3f}' for v in row)}],")
        print("    ]\n)")


if __name__ == "__main__":
    main()
