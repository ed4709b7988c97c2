"""How the cases of a set are to be read, where their files leave that open."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """What the user says of a set's files.

    Attributes:
        labels: the table that the label values belong to; "auto": that of the files' names.
        resample: bring cases of another size, spacing or orientation to the BraTS grid, instead of refusing them.
        healthy: cases without a segmentation are meant to have no tumour.
    """

    labels: str = "auto"
    resample: bool = False
    healthy: bool = False


AS_EVER = Reading()
