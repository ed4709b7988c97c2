"""Draw label layouts, edit one by hand and all by a policy, and look at them.

    python examples/draw_edit_show_layouts.py --out layouts

No data and no network are needed. `layouts/layouts.png` has a row for each: the drawn brains, the first of them after
edits whose parameters stand below, and each after a policy whose parameters are drawn. `synth generate --data
layouts/edited --edits none` paints them.
"""

import argparse
from pathlib import Path

from synth import edit_from_dict, edit_layouts, find_inputs, layouts, policy_of, save_layout, show_layouts

BY_HAND = (  # in order; the same layout gives the same result, wherever it is applied
    {"name": "mirror", "target": "layout", "shift_mm": (0.0, 0.0, 0.0)},
    {"name": "grow", "region": "ET", "mm": 2.0},
    {"name": "resize", "region": "WT", "ml": 60.0},
)
POLICY = {  # as in a file for `--edits policy.yaml`: steps in order, ranges to draw from
    "steps": [
        {"any_of": [{"edit": "move", "mm": [10, 30]}, {"edit": "swap", "weight": 0.5}]},
        {"edit": "elastic", "target": "tumour", "probability": 0.8},
        {"edit": "elastic", "target": "layout"},
    ]
}


def main(arguments: list[str] | None = None) -> None:
    """Draw, edit, save and show."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="your BraTS cases, or layouts [default: none needed]")
    parser.add_argument("--n", type=int, default=3, help="how many layouts are drawn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("layouts"), help="a new folder")
    options = parser.parse_args(arguments)

    drawn = []
    for layout, recipe in layouts(options.data, seed=options.seed, n=options.n):
        drawn.append(layout.named(f"drawn_{recipe.index:03d}"))
        save_layout(drawn[-1], options.out / "drawn")
        edits = ", ".join(edit["name"] for edit in recipe.edits)
        print(f"{drawn[-1].id}: {layout.volumes_ml()['WT']:.1f} ml, from {recipe.host} by {edits}")

    by_hand = drawn[0].named(f"{drawn[0].id}_by_hand")
    for record in BY_HAND:
        by_hand = edit_from_dict(record).apply(by_hand)
    save_layout(by_hand, options.out / "drawn")
    print(f"{by_hand.id}: {by_hand.volumes_ml()['WT']:.1f} ml")

    policy = policy_of(POLICY)
    print(f"the policy as a file:\n{policy.to_yaml()}")
    inputs = [source for source in find_inputs(options.out / "drawn") if source.id != by_hand.id]
    print(edit_layouts(inputs, options.out / "edited", policy, seed=options.seed).sentence())

    shown = [*find_inputs(options.out / "drawn"), *find_inputs(options.out / "edited")]
    print(show_layouts(shown, options.out / "layouts.png", scale=1))


if __name__ == "__main__":
    main()
