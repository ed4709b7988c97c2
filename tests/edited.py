"""What the tests of edits share: two heads, a draw by the spec, and what they look at."""

import numpy as np
from phantoms import head_layout

from synth.brats import REGIONS, Tumour
from synth.layout.edits import parse_edit
from synth.layout.space import centroid

HOST, DONOR = head_layout(case_id="host"), head_layout(seed=7, case_id="donor")


def draw(spec, layout=HOST, seed=0, **ranges):
    """The edit of a spec such as "grow:tumour" drawn for a layout, and the donor it needs or None."""
    cls, target = parse_edit(spec)
    donor = DONOR if cls.needs_donor else None
    if spec.split(":")[0] in ("grow", "shrink"):
        ranges.setdefault("mm", (5.0, 9.0))  # a phantom's voxel is 4 mm
    if spec.startswith("core"):
        ranges.setdefault("action", "erode")
        ranges.setdefault("erode", (5.0, 9.0))
    if spec.startswith("rotate"):
        ranges.setdefault("degrees", (15.0, 30.0))  # less leaves a small egg as it is
    return cls.draw(layout, np.random.default_rng(seed), target=target, donor=donor, **ranges), donor


def place_of(layout, classes=(1, 2, 3)):
    """Centroid of the tumour's voxels of these classes."""
    return centroid(np.isin(layout.tumour, classes))


def region(layout, name):
    """Where the layout has the region (WT, TC, ET, NCR)."""
    return np.isin(layout.tumour, (Tumour.NCR,) if name == "NCR" else REGIONS[name])


def lawful_labels(layout, like):
    """Assert that the layout is one, on the grid of another."""
    assert layout.tissue.dtype == layout.tumour.dtype == np.uint8
    assert layout.tissue.max() <= 3
    assert layout.tumour.max() <= 3
    assert not layout.tumour[layout.tissue == 0].any()
    assert layout.shape == like.shape
    assert layout.id == like.id
    assert np.array_equal(layout.affine, like.affine)


def real_layouts(folder, count=2):
    """Real maps on the template's tissue, full size."""
    import nibabel as nib

    from synth.brats import AFFINE
    from synth.layout.layout import Layout

    tissue = np.asanyarray(nib.load(folder / "atlas" / "sri24_tissues.nii.gz").dataobj).astype(np.uint8, order="C")
    found = []
    for path in sorted((folder / "labels" / "full").glob("*.nii.gz"))[:count]:
        labels = np.asanyarray(nib.load(path).dataobj).astype(np.uint8, order="C")
        labels[labels == 4] = Tumour.ET
        found.append(Layout(tissue, labels * (tissue > 0), np.array(AFFINE), path.name[:-11]))
    return found
