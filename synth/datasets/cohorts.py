"""What a case's id says of its disease: cohorts under BraTS names that are no gliomas of adults before treatment.

Their files look alike, and so do their label values, which mean something else (children), or mean the same of another
disease. Both would pass as gliomas in silence, so they are read only where the user states the label table.
"""

import re
from dataclasses import dataclass

from synth.brats import LABEL_TABLES
from synth.datasets.reading import AUTO, Reading


@dataclass(frozen=True)
class Cohort:
    """Cases whose ids have one form.

    Attributes:
        pattern: of the id's beginning, upper and lower case alike.
        what: name and disease, as sentences have it after "the id is of".
        labels: what its labels are, or why they do not fit a glioma.
        tables: the label tables (`brats.LABEL_TABLES`) that its users may state; empty where none fits.
    """

    pattern: str
    what: str
    labels: str
    tables: tuple[str, ...]

    def refusal(self, reading: Reading) -> str:
        """Why a segmentation is not read as stated, and what to do; empty where it may be."""
        if reading.labels in self.tables:
            return ""
        advice = "leave the case out"
        if self.tables:
            known = " or ".join(f"--labels {name} ({LABEL_TABLES[name]})" for name in self.tables)
            advice += f", or, if you mean to use it, state what its labels mean with {known}"
        expected = "a glioma of an adult before treatment"
        if reading.labels != AUTO:
            expected += f" or labels that --labels {reading.labels} fits"
        return f"the id is of {self.what}, {self.labels}; expected {expected}: {advice}."

    @property
    def caution(self) -> str:
        """What to know of a scan whose labels are not asked for."""
        return f"the id is of {self.what}; all that synth has learned is of gliomas of adults before treatment."


COHORTS = (
    Cohort(
        r"brats[-_]?peds?[-_]",
        "BraTS-PED, gliomas of children",
        "whose labels are 1 ET, 2 non-enhancing, 3 cystic, 4 oedema from 2024 on, and those of adults in 2023",
        ("ped", "brats2023"),
    ),
    Cohort(
        r"brats[-_]?men[-_]?rt[-_]",
        "BraTS-MEN-RT, target volumes of radiotherapy",
        "which have one label on one modality",
        (),
    ),
    Cohort(r"brats[-_]?men[-_]", "BraTS-MEN, meningiomas", "which grow outside the brain", ("brats2023",)),
    Cohort(r"brats[-_]?mets?[-_]", "BraTS-MET, metastases", "which are many and spread otherwise", ("brats2023",)),
    Cohort(
        r"brats[-_]?goat[-_]",
        "BraTS-GoAT, a mixture of gliomas, meningiomas and metastases",
        "and the id does not tell which",
        ("brats2023",),
    ),
    Cohort(
        r"brats[-_]gli[-_]\d+[-_][1-9]\d\d$",
        "BraTS-GLI from 2024 on (scan 100 and up), gliomas after treatment",
        "whose label 4 is the resection cavity, neither tumour nor healthy brain",
        ("brats2023",),
    ),
)
_CHILDREN = "ped"  # the one label table that no adult's case can have
_ADULTS = r"brats([-_](gli|ssa)[-_]|20\d\d_|20_|1[789]_)"


def cohort_of(case_id: str) -> Cohort | None:
    """The cohort that an id names, if it is one of another disease or age; None for gliomas and for unknown ids.

    >>> cohort_of("BraTS-PED-00001-000").tables, cohort_of("BraTS-GLI-00001-000"), cohort_of("BraTS-SSA-00002-000")
    (('ped', 'brats2023'), None, None)
    """
    return next((cohort for cohort in COHORTS if re.match(cohort.pattern, case_id, re.IGNORECASE)), None)


def refused_by_id(case_id: str, reading: Reading) -> str:
    """Why the segmentation of this case is not read as its user stated, one sentence; empty where it may be."""
    cohort = cohort_of(case_id)
    if cohort:
        return cohort.refusal(reading)
    if reading.labels == _CHILDREN and re.match(_ADULTS, case_id, re.IGNORECASE):
        return (
            f"the id is of a glioma of an adult, whose labels --labels {_CHILDREN} does not fit; read it without, "
            "apart from those of children."
        )
    return ""
