"""Print the coverage of a balanced plan, before and after: does every sample lie in its cell, and are counts exact?

Usage: python benchmarks/plan_balanced.py [--layouts FOLDER] [-n 100] [--plan balanced] [--edits standard] [--seed 0]

Without --layouts the atlas anatomies are used. Every layout is measured anew, not taken from its recipe's record, and
one in ten is replayed from its recipe without the plan.
"""

import argparse
import json
import time
from collections import Counter

import numpy as np

from synth.datasets.layout_files import folder_sources
from synth.hosts.anatomies import AtlasAnatomies
from synth.layout.facts import describe
from synth.layout.plans.plan import level_name
from synth.layout.sampling.coverage import coverage, survey
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler


def main():
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layouts", help="folder written by `synth layouts extract`")
    parser.add_argument("-n", type=int, default=100)
    parser.add_argument("--plan", default="balanced")
    parser.add_argument("--edits", help="a preset, a policy file, or edits by comma")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    hosts = folder_sources(args.layouts) if args.layouts else AtlasAnatomies()
    sampler = LayoutSampler(hosts, args.edits, args.seed, args.plan)
    plain = LayoutSampler(hosts, "none", args.seed + 1)
    made, seconds, reasons, redrawn, unlawful, replayed, steered = [], [], Counter(), 0, 0, 0, Counter()
    for k in range(args.n):
        begin = time.process_time()
        layout, recipe = sampler.draw(k)
        seconds.append(time.process_time() - begin)
        wish, facts = sampler.plan.wish(args.seed, k), describe(layout)
        if wish.misses(facts):
            raise SystemExit(f"sample {k} is not as planned ({wish}): {facts}")
        made.append(wish.to_dict())
        unlawful += bool(sampler.judge(layout, recipe))
        reasons.update(" ".join(w for w in r.split(",")[0].split() if not w[0].isdigit()) for r in recipe.redraws)
        redrawn += bool(recipe.redraws)
        steered.update(edit["name"] for edit in recipe.edits)
        if k % 10 == 0:
            again = plain.replay(LayoutRecipe.from_dict(json.loads(json.dumps(recipe.to_dict()))))
            if not (np.array_equal(again.tissue, layout.tissue) and np.array_equal(again.tumour, layout.tumour)):
                raise SystemExit(f"sample {k} did not replay exactly")
            replayed += 1
    covered = coverage(sampler.plan, args.seed, range(args.n), made, survey(sampler, args.n))
    print(covered.table())
    pairs = Counter((level_name(tuple(m["volume_ml"]), "volume_ml"), m["lobe"]) for m in made if len(m) > 1)
    print("volume x lobe:", dict(sorted(pairs.items())))
    print("edits done:", dict(steered.most_common()))
    print(f"CPU seconds a draw: median {np.median(seconds):.2f}, maximum {max(seconds):.2f}")
    total = sum(reasons.values())
    print(f"redraws: {total} of {args.n + total} attempts ({total / (args.n + total):.1%}), in {redrawn} samples")
    for reason, count in reasons.most_common():
        print(f"  {count:4d}  {reason}")
    print(f"unlawful: {unlawful} of {args.n}; replayed exactly without the plan: {replayed} of {replayed}")


if __name__ == "__main__":
    main()
