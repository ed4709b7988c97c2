"""A folder for Hugging Face: NIfTI files, `metadata.jsonl` with one row a case, and a dataset card.

Columns called `X_file_name` become columns `X` with the volumes, by the builder `niftifolder` of `datasets`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synth import __version__
from synth.brats import NAMINGS
from synth.runs.export.brats import CaseFolders
from synth.runs.export.items import Item
from synth.runs.export.target import PARTS

_CARD = """---
pretty_name: {name}
license: other
task_categories:
- image-segmentation
tags:
- medical
- mri
- brain-tumor
- synthetic
configs:
- config_name: default
  data_files:
  - split: train
    path:
    - metadata.jsonl
    - data/**
---

# {name}

{painted} synthetic cases of brain-tumour MRI painted by synth {version}{real}. The column `synthetic` says which is
which.

Each row is a case on the grid of BraTS: `t1`, `t1ce`, `t2`, `flair` (skull-stripped, 1 mm) and `seg`, its labels:
0 nothing, 1 necrotic and non-enhancing core, 2 oedema, 3 enhancing tumour. Synthetic scans were painted from these.

```python
from datasets import load_dataset

cases = load_dataset("niftifolder", data_dir="{name}")["train"]
```

For research only; nothing here is a medical device. Synthetic cases may carry the anatomy of the patients whose scans
they were made from (`manifest.jsonl` names them): share this where those scans may be shared.
"""


class HuggingFace(CaseFolders):
    """`data/ID/ID-t1n.nii.gz` and so on, as BraTS has it from 2023, labels 1 NCR, 2 ED, 3 ET."""

    name = "hf"
    naming = NAMINGS["brats2023"]  # its names say what the labels mean, to synth too
    place = "data/"
    tables = ("metadata.jsonl", "README.md")

    def finish(self, items: Sequence[Item], records: Sequence[Mapping[str, Any]]) -> list[str]:
        """The rows and the card."""
        rows = [self._row(item, record["files"]) for item, record in zip(items, records, strict=True)]
        self.put.text("metadata.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
        painted, name = sum(not item.real for item in items), self.out.resolve().name
        real = f" and {len(items) - painted} real ones" if painted < len(items) else ""
        self.put.text("README.md", _CARD.format(name=name, painted=painted, real=real, version=__version__))
        return []

    def _row(self, item: Item, files: Mapping[str, str]) -> dict[str, Any]:
        names = {part: self._name(item, part) for part in PARTS}
        return {
            **{f"{part}_file_name": name if name in files else None for part, name in names.items()},
            "id": item.id,
            "synthetic": not item.real,
            "seed": None if item.real else item.record.get("seed"),
            "model": item.model.get("hash"),
        }
