"""PyTorch: the cases of any set as a `Dataset`, and samples painted meanwhile as an `IterableDataset`.

`torch_dataset` and `torch_stream` are also `synth.torch_dataset` and `synth.torch_stream`; PyTorch is imported when one
of them is first asked for (`pip install 'synth-brats[torch]'`). Both can be pickled: workers open their own files.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from synth.datasets.sets import CaseSet, open_set
from synth.errors import DataError, SynthError, printable
from synth.hosts.sources import Sources
from synth.layout.edits.presets import AnyPolicy
from synth.layout.plans.plan_file import AnyPlan
from synth.runs.generate import GenerateConfig, Generation
from synth.runs.patches import Cut, Volume
from synth.runs.stream import examples, generation_of, sample_numbers

try:
    import torch
    from torch.utils.data import Dataset, IterableDataset, get_worker_info
except ModuleNotFoundError:
    torch = None
    Dataset = IterableDataset = object

Example = dict[str, Any]
Transform = Callable[[Example], Any]


def torch_dataset(
    data: str | Path | CaseSet,
    *,
    patch: int | tuple[int, int, int] | None = None,
    patches: int = 4,
    tumour_share: float = 0.6,
    normalise: str | None = "zscore",
    seed: int = 0,
    transform: Transform | None = None,
) -> "TorchCases":
    """The annotated cases of a set, whatever its format, for a `torch.utils.data.DataLoader`.

    Item k is a dict: `image` (4, X, Y, Z) float32, modalities in the order of `brats.MODALITIES`, background 0; `label`
    (X, Y, Z) int64 class indices, 0 none, 1 NCR, 2 ED, 3 ET, whatever the files have; `id`; `synthetic`, whether synth
    painted the case. A case is read whole for each item: patches of an HDF5 set come faster from `synth.open_hdf5`.

    Args:
        data: what `synth.open_set` opens: folders of BraTS, sets of synth, nnU-Net's raw format, the Decathlon's.
        patch: edge of cubic patches in voxels, or three edges; None: whole volumes.
        patches: how many from each case; items k * patches and so on are those of case k.
        tumour_share: of patches centred on a tumour voxel; the others on any voxel of the brain. 0 to 1.
        normalise: "zscore": each modality has mean 0 and standard deviation 1 in the brain; None: as in the files.
        seed: of the patches' places, which the item's number decides; set `dataset.seed` anew for other ones.
        transform: applied to each dict.

    Raises:
        SynthError: PyTorch is missing, there is no such set, a case has no labels, or a number is out of range; when an
            item is asked for, a case that cannot be read.

    Example:
        >>> cases = synth.torch_dataset("set", patch=128)  # doctest: +SKIP
        >>> for batch in DataLoader(cases, batch_size=2, shuffle=True, num_workers=2):  # doctest: +SKIP
        ...     step(batch["image"], batch["label"])
    """
    _ask_for_torch()
    cases = open_set(data, scans=True)
    bare = next((member for member in cases.members if not member.annotated), None)
    if bare is not None:
        raise DataError(
            f"{printable(bare.path)}: case {printable(bare.id)} has no segmentation; training needs labels: add it or "
            "take the case out."
        )
    return TorchCases(cases, Cut(patch, patches, tumour_share, normalise, False), seed, transform)


def torch_stream(
    data: str | Path | CaseSet | Sources | None = None,
    *,
    model: str | Path | None = None,
    edits: AnyPolicy | None = None,
    plan: AnyPlan | None = None,
    style: str | None = None,
    seed: int = 0,
    start: int = 0,
    n: int | None = None,
    patch: int | tuple[int, int, int] | None = None,
    patches: int = 8,
    tumour_share: float = 0.6,
    normalise: str | None = "zscore",
    kept: str | Path | None = None,
    transform: Transform | None = None,
) -> "TorchStream":
    """Freshly edited, freshly painted pairs for a `torch.utils.data.DataLoader`, without end or `n` samples of them.

    What `synth.dataset` gives, as dicts of `image` (4, X, Y, Z) float32 and `label` (X, Y, Z) int64. Workers share the
    samples out. Each loads TensorFlow and the generator (2.8 GiB), so that one worker mostly is enough.

    Args:
        data: as for `synth.dataset`, and so `model` to `normalise` and `kept`.
        model: the generator.
        edits: the policy.
        plan: what is to be covered.
        style: the kind of styles.
        seed: of everything.
        start: number of the first sample.
        n: how many samples (volumes); None: endless.
        patch: edge or edges of patches; None: whole volumes.
        patches: how many from each volume.
        tumour_share: of patches centred on a tumour voxel.
        normalise: "zscore" or None.
        kept: where layouts are kept.
        transform: applied to each dict.

    Raises:
        SynthError: PyTorch is missing, unusable data, unknown names or numbers out of range.

    Example:
        >>> fresh = synth.torch_stream(seed=7, patch=128)  # doctest: +SKIP
        >>> for batch in DataLoader(fresh, batch_size=2, num_workers=1): step(batch)  # doctest: +SKIP
    """
    _ask_for_torch()
    cut = Cut(patch, patches, tumour_share, normalise, False)
    sample_numbers(start, n, (0, 1))
    generation = generation_of(data, kept, model, GenerateConfig(seed=seed, edits=edits, style=style, plan=plan))
    return TorchStream(generation, start, n, cut, transform)


class TorchCases(Dataset):
    """What `torch_dataset` gives."""

    def __init__(self, cases: CaseSet, cut: Cut, seed: int, transform: Transform | None):
        self.cases, self.cut, self.seed, self.transform = cases, cut, seed, transform

    def __getstate__(self) -> dict[str, Any]:
        """The set by its path: whoever gets this opens it for themselves."""
        return {**self.__dict__, "cases": (self.cases.path, self.cases.reading)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the set."""
        path, reading = state["cases"]
        self.__dict__.update(state, cases=open_set(path, scans=True, reading=reading))

    def __len__(self) -> int:
        """Items: cases, or patches of all."""
        return len(self.cases) * self.cut.per_sample

    def __getitem__(self, number: int) -> Any:
        """One item.

        Raises:
            IndexError: there is no such item.
            DataError: the case cannot be read.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"item {number} of {len(self)}")
        index, patch = divmod(number, self.cut.per_sample)
        member = self.cases.members[index]
        case = member.read("required")
        volume = Volume.of(replace(case, meta={"index": index}), self.seed, self.cut)
        volume.given = patch
        whole = self.cut.patch is None
        images, labels = volume.whole(case.images.shape[:3]) if whole else volume.next_patch()
        made = {**_tensors(images, labels), "id": member.id, "synthetic": self.cases.is_painted(member)}
        return made if self.transform is None else self.transform(made)


class TorchStream(IterableDataset):
    """What `torch_stream` gives."""

    def __init__(self, generation: Generation, start: int, n: int | None, cut: Cut, transform: Transform | None):
        self.generation, self.start, self.n, self.cut, self.transform = generation, start, n, cut, transform

    def __iter__(self) -> Iterator[Any]:
        """Examples of this worker's samples."""
        worker = get_worker_info()
        mine = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for images, labels in examples(self.generation, sample_numbers(self.start, self.n, mine), self.cut):
            made = _tensors(images, labels)
            yield made if self.transform is None else self.transform(made)


def _tensors(images: np.ndarray, labels: np.ndarray) -> Example:
    """Channels first, as PyTorch has them."""
    image = torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 0)))
    return {"image": image, "label": torch.from_numpy(labels.astype(np.int64))}


def _ask_for_torch() -> None:
    if torch is None:
        raise SynthError(
            "PyTorch is not installed; get it with: pip install 'synth-brats[torch]' (or pip install torch)."
        )
