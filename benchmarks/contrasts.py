"""Bar 5: are the contrasts of generated samples those of gliomas? Reads a folder that `synth generate` wrote as NIfTI.

    python benchmarks/contrasts.py SET [--data DIR] [--layouts DIR] [--model NAME]

Tissue is that of each sample's layout, rebuilt from the manifest; medians over all its voxels.
"""

import argparse
from collections import Counter

import nibabel as nib
import numpy as np

from synth.brats import MODALITIES
from synth.disk.manifest import read_entries
from synth.hosts.sources import data_sources, embedded_sources
from synth.layout.sampling.recipe import LayoutRecipe
from synth.layout.sampling.sampler import LayoutSampler

RULES = {
    "ET brighter than WM in t1ce": lambda v: v["ET", "t1ce"] > v["WM", "t1ce"],
    "ED brighter than GM in flair": lambda v: v["ED", "flair"] > v["GM", "flair"],
    "CSF darkest tissue in t1": lambda v: v["CSF", "t1"] < min(v["GM", "t1"], v["WM", "t1"]),
    "CSF darkest tissue in flair": lambda v: v["CSF", "flair"] < min(v["GM", "flair"], v["WM", "flair"]),
    "CSF brightest tissue in t2": lambda v: v["CSF", "t2"] > max(v["GM", "t2"], v["WM", "t2"]),
}
CLASSES = ("CSF", "GM", "WM", "NCR", "ED", "ET")


def main() -> None:
    """Print, per rule, in how many of the samples that have the classes it holds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set")
    parser.add_argument("--data")
    parser.add_argument("--layouts")
    options = parser.parse_args()
    sources = data_sources(options.data, options.layouts)[0] if options.data else embedded_sources()
    sampler, held, asked, clean, records = (
        LayoutSampler(sources.hosts),
        Counter(),
        Counter(),
        0,
        read_entries(options.set),
    )
    for record in records:
        layout = sampler.replay(LayoutRecipe.from_dict(record))
        files = {name.rsplit("_", 1)[-1].split(".")[0]: f"{options.set}/{name}" for name in record["files"]}
        values = {}
        for modality in MODALITIES:
            image = np.asanyarray(nib.load(files[modality]).dataobj)
            for k, name in enumerate(CLASSES):
                mask = layout.classes == k + 1
                if np.count_nonzero(mask) >= 20:
                    values[name, modality] = np.median(image[mask])
        bad = []
        for rule, holds in RULES.items():
            try:
                good = holds(values)
            except KeyError:  # the sample has no such class
                continue
            asked[rule] += 1
            held[rule] += good
            if not good:
                bad.append(rule)
        clean += not bad
        if bad:
            print(record["id"], record["host"], "; ".join(bad))
    for rule in RULES:
        print(f"{rule:32}{held[rule]:4} of {asked[rule]}")
    print(f"{'all of them':32}{clean:4} of {len(records)}")


if __name__ == "__main__":
    main()
