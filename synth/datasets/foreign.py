"""Brain tumour data in layouts that are not read: known by the names of their files, told with what to do."""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from synth.errors import printable

_NIFTI = r"\.nii(\.gz)?$"


@dataclass(frozen=True)
class Family:
    """One layout of other people's data.

    Attributes:
        what: completes "these are ...".
        pattern: of `/folder/name` of its files, upper and lower case alike; the group `id` is the case's, where the
            names of a part of its files could be taken for those of a BraTS case.
        advice: what to do, completes the sentence.
        parts: families (by `what`) whose files belong to this one where it is there.
        beside: whether it is worth a word where there are BraTS cases too.
    """

    what: str
    pattern: str
    advice: str
    parts: tuple[str, ...] = ()
    beside: bool = True


_LABELS_ALONE = "label maps without scans, as the Decathlon and nnU-Net keep them in labelsTr"
_NO_ID = "modalities without an id in their names"
_COPY = "copy or link each as ID_t1, ID_t1ce, ID_t2, ID_flair and ID_seg (.nii.gz)"
FAMILIES = (
    Family(
        "slices of BraTS 2020 as Kaggle has them",
        r"/volume_\d+_slice_\d+\.h5$",
        "single slices are not read, for they hold neither whole volumes nor the scanner's intensities: give the "
        "original volumes (.nii or .nii.gz)",
    ),
    Family(
        "MetaImage files, as BraTS had them from 2012 to 2016",
        r"\.mha$",
        "convert each to NIfTI on the BraTS grid as ID_t1, ID_t1ce (MR_T1c), ID_t2, ID_flair and ID_seg (OT), and read "
        "the labels with --labels brats2015",
    ),
    Family(
        "channels in nnU-Net's raw format",
        rf"/[^/]+_\d{{4}}{_NIFTI}",
        "give the dataset's folder, whose dataset.json says which channel is which, or copy or link each channel as "
        "ID_t1, ID_t1ce, ID_t2 and ID_flair and the map in labelsTr as ID_seg, and read that with --labels nnunet",
        parts=(_LABELS_ALONE,),
    ),
    Family(
        "4-D volumes in the layout of the Medical Segmentation Decathlon (Task01_BrainTumour)",
        rf"/images(Tr|Ts)/[^/]+{_NIFTI}",
        "give the task's folder, whose dataset.json describes them, or split each into ID_flair, ID_t1, ID_t1ce and "
        "ID_t2 (its channels in this order), copy the map in labelsTr as ID_seg, and read that with --labels msd",
        parts=(_LABELS_ALONE,),
    ),
    Family(
        _LABELS_ALONE,
        rf"/labels(Tr|Ts)/[^/]+{_NIFTI}",
        "name them ID_seg.nii.gz, and read them with --labels msd or --labels nnunet",
    ),
    Family(
        "files of UPENN-GBM",
        rf"/(?P<id>UPENN-GBM-\d+_\d+)_\w+{_NIFTI}",
        f"its t1ce is called T1GD, its segmentation segm and lies in another folder: {_COPY} in one folder",
    ),
    Family(
        "files of UCSF-PDGM",
        rf"/(?P<id>UCSF-PDGM-\d+(_FU\w+?)?)_\w+{_NIFTI}",
        f"its t1ce is called T1c, its segmentation tumor_segmentation: {_COPY}",
    ),
    Family(
        "files of the TCGA-GBM and TCGA-LGG segmentations",
        rf"/(?P<id>TCGA-[\w.-]+?)_(t1Gd|GlistrBoost\w*){_NIFTI}",
        "the t1ce is called t1Gd, the segmentation GlistrBoost_ManuallyCorrected (where there is one, else "
        f"GlistrBoost): {_COPY}",
    ),
    Family(
        "files of BraTS-MEN-RT",
        rf"/(?P<id>BraTS-MEN-RT-[\d-]+)_\w+{_NIFTI}",
        "meningiomas with one modality and a target volume of radiotherapy are not read: leave them out",
    ),
    Family(
        "files of BraTS inpainting",
        rf"/(?P<id>[^/]+)-(t1n-voided|mask-(un)?healthy){_NIFTI}",
        "one modality with a part cut out is not read: give the cases with all four modalities",
    ),
    Family(
        "files in BIDS",
        rf"/(?P<id>sub-[a-z\d]+(_ses-[a-z\d]+)?)_(\w+-[a-z\d]+_)*(T1w|T2w){_NIFTI}",
        f"BIDS is not read: {_COPY}, if they are skull-stripped and on the BraTS grid",
    ),
    Family(
        "files of HD-GLIO",
        rf"/(CT1(_\w+)?|\w+_r2s(_\w+)?){_NIFTI}",
        "its labels (1 non-enhancing, 2 enhancing) leave out the necrosis, so they make no layout: segment the scans "
        "with `synth segment` as ID_t1, ID_t1ce (CT1), ID_t2 and ID_flair",
        parts=(_NO_ID,),
    ),
    Family(
        _NO_ID,
        rf"/(t1|t1c|t1ce|t1n|t2|t2w|t2f|flair|fla|seg){_NIFTI}",
        "put the id of the case before: ID_t1, ID_t1ce, ID_t2, ID_flair and ID_seg (.nii.gz)",
    ),
    Family(
        "DICOM slices",
        r"\.(dcm|ima)$",
        "convert them to NIfTI (dcm2niix does), registered to the BraTS grid and skull-stripped",
        beside=False,
    ),
)


@dataclass
class Foreign:
    """Files of `FAMILIES` that were found below a folder."""

    root: Path

    def __post_init__(self) -> None:
        """Start with nothing."""
        self._files: dict[Family, list[tuple[Path, str]]] = defaultdict(list)

    def add(self, path: Path) -> bool:
        """Take a file in, if it is of a family."""
        if known := family_of(path):
            self._files[known[0]].append((path, known[1]))
        return known is not None

    @property
    def ids(self) -> frozenset[str]:
        """Of cases whose files are named by a family, as far as its names tell."""
        return frozenset(case_id for files in self._files.values() for _, case_id in files if case_id)

    def leave(self, complete: Iterable[str], folders: Iterable[Path]) -> None:
        """Forget what lies beside the files of a BraTS case: other files of `complete` ids, and files without one."""
        complete, folders = set(complete), set(folders)
        for family, files in list(self._files.items()):
            kept = [
                (path, case_id)
                for path, case_id in files
                if (case_id not in complete if case_id else path.parent not in folders)
            ]
            if kept:
                self._files[family] = kept
            else:
                del self._files[family]

    def sentences(self, *, beside: bool = False) -> list[str]:
        """One for each family: what was found, how many and where, what to do.

        Args:
            beside: there are BraTS cases too: families that are often kept beside these are passed over.
        """
        parts = {part for family in self._files for part in family.parts}
        return [
            f"{len(files)} file{'s' if len(files) > 1 else ''} (such as {printable(_below(files[0][0], self.root))}) "
            f"{'are' if len(files) > 1 else 'is one of the'} {family.what}; {family.advice}."
            for family in FAMILIES
            if (files := self._files.get(family)) and family.what not in parts and (family.beside or not beside)
        ]


def family_of(path: Path) -> tuple[Family, str] | None:
    """The family that a file belongs to by its name and its folder's, and the id in its name (or ""); None: of none."""
    name = f"/{path.parent.name}/{path.name}"
    for family in FAMILIES:
        if match := re.search(family.pattern, name, re.IGNORECASE):
            return family, match.groupdict().get("id") or ""
    return None


def _below(path: Path, root: Path) -> Path:
    return path.relative_to(root) if path.is_relative_to(root) else path
