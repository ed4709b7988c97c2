"""An interactive viewer of cases in one page that needs no network: NiiVue, with everything inside the file.

NiiVue (BSD-2-Clause, niivue.com) comes with nilearn; its code and the volumes are embedded as inert text and decoded
when the viewer is opened, so that a page with a viewer loads as fast as one without. The page itself forbids the
network (`policy`). Slices are shown as radiologists read them, the patient's right on the left.
"""

import base64
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from importlib import resources
from string import Template

import numpy as np
from scipy.ndimage import affine_transform, gaussian_filter

from synth.brats import MODALITIES, Tumour
from synth.case import Case
from synth.errors import SynthError
from synth.exporters.deflate import gzip_bytes
from synth.exporters.nifti import nifti_bytes
from synth.layout.layout import Layout, bounding_box
from synth.show.contact_sheet import COLOURS

MARGIN = 2  # voxels around the brain
PERCENTILES = (0.5, 99.8)  # of the brain: black and white
FIRST = "t1ce"  # the image shown first: the enhancing tumour is bright in it
_CODE = "_assets/js/niivue.umd.js"  # in nilearn, from 0.14 on


@dataclass(frozen=True)
class ViewerCase:
    """One entry of the viewer.

    Attributes:
        id: unique in the page.
        title: as the list of cases shows it.
        volumes: name -> bytes of a `.nii.gz`; "labels" is drawn over the others, with `brats.Tumour` as values.
    """

    id: str
    title: str
    volumes: dict[str, bytes]


def compact(case: Case, spacing: float = 1.0) -> dict[str, bytes]:
    """A case as volumes of the viewer: cut to the brain, 8 bits a voxel.

    Args:
        case: any.
        spacing: edge of a voxel shown, in voxels of the case, 1 or more; larger ones are averages. 1.5 gives 2-3 MB.
    """
    box = bounding_box(case.brain, MARGIN)
    step = max(float(spacing), 1.0)
    affine = _affine(case.affine, box, step)
    out = {}
    for m, name in enumerate(MODALITIES):
        image = case.images[..., m][box].astype(np.float32)
        out[name] = _packed(_grey(_resampled(image, step)), affine)
    if case.labels is not None:
        out["labels"] = _packed(_majority(case.labels[box], step), affine)
    return out


def compact_layout(layout: Layout) -> dict[str, bytes]:
    """A layout as volumes of the viewer: tissue in three greys, the tumour drawn over it."""
    box = bounding_box(layout.brain, MARGIN)
    affine = _affine(layout.affine, box, 1.0)
    tissue = np.array([0, 70, 150, 230], np.uint8)[layout.tissue[box]]
    return {"tissue": _packed(tissue, affine), "labels": _packed(layout.tumour[box], affine)}


def viewer_fragment(cases: Sequence[ViewerCase]) -> str:
    """The viewer as a piece of HTML, once a page, for a page whose policy is `policy()` or allows as much.

    It is a closed `<details id="synth-viewer">`: opening it decodes NiiVue and the first case. Where it cannot run
    (no WebGL 2, an old browser) a sentence says so in its place.

    Raises:
        SynthError: there is no case, or NiiVue is not where nilearn has it.
    """
    if not cases:
        raise SynthError("the viewer needs a case to show; give at least one.")
    code = base64.b64encode(gzip.compress(niivue_code(), 9, mtime=0)).decode()
    index, data = [], []
    for number, case in enumerate(cases):
        names = [name for name in case.volumes if name != "labels"]
        index.append({"id": case.id, "title": case.title, "images": names, "labels": "labels" in case.volumes})
        data += [
            f'<script type="application/octet-stream" id="synth-viewer-{number}-{escape(name)}">'
            f"{base64.b64encode(packed).decode()}</script>"
            for name, packed in case.volumes.items()
        ]
    swatches = "".join(f'<span><i style="background:rgb{colour}"></i>{name}</span>' for name, colour in COLOURS.items())
    facts = {"cases": index, "first": FIRST, "names": ["", *COLOURS], "colours": list(COLOURS.values())}
    return Template(_asset("viewer.html")).substitute(
        style=_asset("viewer.css"),
        script=_asset("viewer.js"),
        code=code,
        index=_inert_json(facts),
        license=_asset("niivue-license.txt"),
        data="\n".join(data),
        swatches=swatches,
    )


def viewer_html(cases: Sequence[ViewerCase], title: str = "synth view") -> str:
    """A whole page with the viewer, opened.

    Raises:
        SynthError: NiiVue is not where nilearn has it.
    """
    viewer = viewer_fragment(cases).replace("<details", "<details open", 1)
    return Template(_asset("page.html")).substitute(policy=escape(policy()), title=escape(title), viewer=viewer)


def policy(*scripts: str) -> str:
    """The strictest Content-Security-Policy that the viewer runs under: no network, no script but those of the page.

    NiiVue starts from a blob, lays out with inline styles and takes its font from a data address.

    Args:
        scripts: the text of other inline scripts of the page, as it stands between their tags.
    """
    hashes = (base64.b64encode(sha256(text.encode()).digest()).decode() for text in (_asset("viewer.js"), *scripts))
    allowed = " ".join(f"'sha256-{one}'" for one in hashes)
    return (
        f"default-src 'none'; script-src {allowed} blob:; style-src 'unsafe-inline'; img-src data: blob:; "
        "connect-src data:; base-uri 'none'; form-action 'none'"
    )


def niivue_code() -> bytes:
    """NiiVue's script, as nilearn carries it.

    Raises:
        SynthError: it is not there.
    """
    path = resources.files("nilearn").joinpath(_CODE)
    if not path.is_file():
        raise SynthError(f"{path}: expected NiiVue's script in nilearn, found none; install nilearn 0.14 or newer.")
    return path.read_bytes()


def _asset(name: str) -> str:
    return resources.files("synth.show").joinpath("assets", name).read_text(encoding="utf-8")


def _inert_json(value) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value).replace("<", "\\u003c")


def _affine(affine: np.ndarray, box, step: float) -> np.ndarray:
    """Of a box's voxels, each as wide as `step` of the grid's and centred on the middle of these."""
    scale = np.eye(4)
    scale[:3, :3] *= step
    scale[:3, 3] = [part.start + (step - 1) / 2 for part in box]
    return affine @ scale


def _resampled(image: np.ndarray, step: float) -> np.ndarray:
    """Values at the centres of coarser voxels, smoothed first by as much as these leave out."""
    if step == 1:
        return image
    shape = [max(int(n / step), 1) for n in image.shape]
    smooth = gaussian_filter(image, (step - 1) / 2)
    return affine_transform(smooth, step * np.eye(3), (step - 1) / 2, shape, order=1, mode="nearest")


def _majority(labels: np.ndarray, step: float) -> np.ndarray:
    """The label that fills most of a coarser voxel, by the rule that images follow: they stay in step."""
    if step == 1:
        return labels
    shares = [_resampled((labels == value).astype(np.float32), step) for value in range(1 + max(Tumour))]
    return np.argmax(shares, axis=0).astype(np.uint8)


def _grey(image: np.ndarray) -> np.ndarray:
    inside = image[image > 0]
    if not inside.size:
        return np.zeros(image.shape, np.uint8)
    low, high = np.percentile(inside, PERCENTILES)
    share = (image - low) / ((high - low) or 1)
    return np.where(image > 0, 1 + np.rint(share.clip(0, 1) * 254), 0).astype(np.uint8)


def _packed(array: np.ndarray, affine: np.ndarray) -> bytes:
    return bytes(gzip_bytes(nifti_bytes(np.asfortranarray(array), affine)))
