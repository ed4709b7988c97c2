"""A BIDS derivative: one subject a case, images in the space of SRI24, the tumour as a discrete segmentation.

SRI24 is none of BIDS's standard templates, so that `SpatialReference` must say where it is. By the schema of BIDS 1.10:
rules/files/deriv/imaging.yaml, rules/sidecars/derivatives/common_derivatives.yaml.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synth import __version__
from synth.brats import MODALITIES, Tumour
from synth.datasets.case_files import QUARANTINE
from synth.disk.manifest import MANIFEST, RUN
from synth.runs.export.content import Content, Values
from synth.runs.export.items import Item
from synth.runs.export.target import PARTS, Target

VALUES: Values = (0, 1, 2, 3)
SPACE, REFERENCE = "SRI24", "https://www.nitrc.org/projects/sri24/"
_SUFFIXES = {"t1": "T1w", "t1ce": "T1w", "t2": "T2w", "flair": "FLAIR"}
_NAMES = {
    Tumour.NCR: "necrotic and non-enhancing tumour core",
    Tumour.ED: "peritumoural oedema",
    Tumour.ET: "enhancing tumour",
}
_LOOKUP = "index\tname\tabbreviation\n" + "".join(
    f"{value:d}\t{name}\t{value.name}\n" for value, name in _NAMES.items()
)
# what runs leave beside the cases
_IGNORED = (MANIFEST, RUN, "contact_sheet.png", "coverage.json", "recipes.jsonl", f"{QUARANTINE}/")
_README = """# {name}

{painted} synthetic cases painted by synth {version} and {real} real ones, as a BIDS derivative. The column `synthetic`
of `participants.tsv` and the field `Synthetic` of every sidecar say which is which; images of synthetic cases have
`desc-synthetic` in their names, those of real ones `desc-preproc`.
"""


class Bids(Target):
    """`sub-ID/anat/sub-ID[_ce-gadolinium]_space-SRI24_desc-synthetic_T1w.nii.gz` and so on, with sidecars."""

    name = "bids"
    tables = ("dataset_description.json", "participants.tsv", "participants.json", "README.md", ".bidsignore")

    @staticmethod
    def key(case_id: str) -> str:
        """A label of BIDS: letters and digits alone."""
        return re.sub("[^0-9A-Za-z]", "", case_id)

    def names(self, items: Sequence[Item]) -> list[str]:
        """Images, segmentations and what stands beside them."""
        out = []
        for item in items:
            stems = [self._stem(item, part) for part in PARTS]
            out += [stem + ending for stem in stems for ending in (".nii.gz", ".json")] + [stems[-1] + ".tsv"]
        return out

    def write(self, batch: Iterable[Content]) -> list[dict[str, str]]:
        """Each case with its sidecars."""
        return [self._write(content) for content in batch]

    def finish(self, items: Sequence[Item], records: Sequence[Mapping[str, Any]]) -> list[str]:
        """The description of the set and its participants; what BIDS does not know is to be ignored."""
        painted, name = sum(not item.real for item in items), self.out.resolve().name
        rows = [f"sub-{self.key(item.id)}\t{'false' if item.real else 'true'}\n" for item in items]
        self.put.text("participants.tsv", "participant_id\tsynthetic\n" + "".join(rows))
        levels = {"true": "painted by synth: no patient's scan", "false": "a patient's scan"}
        about = {"participant_id": {"Description": "The case"}}
        self.put.json("participants.json", about | {"synthetic": {"Description": "Whose scan it is", "Levels": levels}})
        readme = _README.format(name=name, painted=painted, real=len(items) - painted, version=__version__)
        self.put.text("README.md", readme)
        self.put.text(".bidsignore", "".join(f"{name}\n" for name in _IGNORED))
        self.put.json(
            "dataset_description.json",
            {
                "Name": name,
                "BIDSVersion": "1.10.0",
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": "synth", "Version": __version__, "Description": "painted synthetic cases"}],
            },
        )
        return []

    def _write(self, content: Content) -> dict[str, str]:
        item, files = content.item, {}
        seg = self._stem(item, "seg")
        for modality in MODALITIES:
            stem = self._stem(item, modality)
            files[stem + ".nii.gz"] = self.put.image(stem + ".nii.gz", content, modality)
            files[stem + ".json"] = self._sidecar(stem, item, None if item.real else seg, SkullStripped=True)
        if content.labelled:
            files[seg + ".nii.gz"] = self.put.labels(seg + ".nii.gz", content, VALUES)
            files[seg + ".tsv"] = self.put.text(seg + ".tsv", _LOOKUP)
            files[seg + ".json"] = self._sidecar(seg, item, None)
        return files

    def _sidecar(self, stem: str, item: Item, source: str | None, **more: Any) -> str:
        """What a file is; a painted image was made from its segmentation."""
        what = "a patient's scan" if item.real else f"synthetic: painted by synth {__version__}"
        seed, model = item.record.get("seed"), item.model.get("hash")
        known = {"Seed": seed, "ModelName": item.model.get("name"), "ModelHash": model}
        content = {
            "Description": f"{what}, skull-stripped, on the grid of BraTS",
            "SpatialReference": REFERENCE,
            **({"Sources": [f"bids::{source}.nii.gz"]} if source else {}),
            **more,
            "Synthetic": not item.real,
            **({} if item.real else {key: value for key, value in known.items() if value is not None}),
        }
        return self.put.json(stem + ".json", content)

    def _stem(self, item: Item, part: str) -> str:
        subject = f"sub-{self.key(item.id)}"
        if part == "seg":
            return f"{subject}/anat/{subject}_space-{SPACE}_desc-tumour_dseg"
        contrast = "_ce-gadolinium" if part == "t1ce" else ""
        kind = "preproc" if item.real else "synthetic"
        return f"{subject}/anat/{subject}{contrast}_space-{SPACE}_desc-{kind}_{_SUFFIXES[part]}"
