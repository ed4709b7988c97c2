"""How the files of a set are to be understood where they do not say it themselves: what its user states."""

from dataclasses import asdict, dataclass, replace

from synth.brats import LABEL_TABLES, Naming
from synth.errors import SynthError

AUTO = "auto"
BRATS = "brats"


@dataclass(frozen=True)
class Reading:
    """What the user of a set says about its files.

    Attributes:
        labels: the table that its label values belong to, a name of `brats.LABEL_TABLES`; "auto": that of the year
            that the file names belong to; "brats": the same, stated, so that nothing in the voxels casts doubt on it.
        resample: bring scans on another grid to BraTS's; False: they are refused.
        healthy: a case without a segmentation is a healthy brain (all labels 0) where labels are needed; False: it is
            refused.
    """

    labels: str = AUTO
    resample: bool = False
    healthy: bool = False

    def __post_init__(self) -> None:
        """Raise `SynthError` on a label table that is not known."""
        if self.labels not in (known := (AUTO, BRATS, *LABEL_TABLES)):
            raise SynthError(f"labels must be one of {', '.join(known)}; found {self.labels!r}.")

    def of(self, naming: Naming) -> "Reading":
        """This, for files named by one convention: "brats" is its table by name."""
        return replace(self, labels=naming.name) if self.labels == BRATS else self

    def to_dict(self) -> dict:
        """What differs from the default, for a record; empty for the default."""
        return {name: value for name, value in asdict(self).items() if value != getattr(Reading, name)}

    @property
    def tag(self) -> str:
        """A text that differs where cases are read differently; empty for the default."""
        return "|".join(f"{name}={value}" for name, value in self.to_dict().items())


PLAIN = Reading()  # nothing stated
