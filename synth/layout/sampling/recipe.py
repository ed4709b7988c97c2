"""The recipe of a layout: how one sample was made, as it stands in manifests."""

from dataclasses import asdict, dataclass
from typing import Any

from synth.errors import LayoutError
from synth.layout.edits import edit_from_dict
from synth.layout.edits.edit import edit_class


@dataclass(frozen=True)
class LayoutRecipe:
    """How one layout was made; JSON-able, and enough to make it again.

    Attributes:
        index: which sample.
        seed: of the run.
        host: id of the source of the brain.
        donor: id of the source of the tumour, or None where no edit used one.
        edits: what was done, in order, as `Edit.to_dict`.
        redraws: for each attempt before this one, why its layout was unlawful.
        plan: what a plan wished for, as `plan.Wish.to_dict`, or None.
        ancestors: the patients behind host and donor, where one of these was painted or drawn itself (`lineage`).
    """

    index: int
    seed: int
    host: str
    donor: str | None
    edits: tuple[dict[str, Any], ...]
    redraws: tuple[str, ...] = ()
    plan: dict[str, Any] | None = None
    ancestors: tuple[str, ...] | None = None

    @property
    def keeps_brain(self) -> bool:
        """Whether the brain is still the host's, whatever became of its tumour."""
        return not any(edit_class(edit["name"]).another_brain for edit in self.edits)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dict; `from_dict` reads it back. Neither `plan` nor `ancestors` is in it where there is none."""
        out = {**asdict(self), "edits": [dict(edit) for edit in self.edits], "redraws": list(self.redraws)}
        if self.ancestors is not None:
            out["ancestors"] = list(self.ancestors)
        without = {
            name for name, there in (("plan", self.plan), ("ancestors", self.ancestors is not None)) if not there
        }
        return {key: value for key, value in out.items() if key not in without}

    @classmethod
    def from_dict(cls, record: dict[str, Any]) -> "LayoutRecipe":
        """The recipe of a dict made by `to_dict`.

        Raises:
            LayoutError: an entry is missing, or an edit is unknown or has unlawful parameters.
        """
        needed = [name for name in cls.__dataclass_fields__ if name not in ("plan", "ancestors")]
        missing = sorted(set(needed) - set(record))
        if missing:
            raise LayoutError(f"recipe: expected the entries {', '.join(needed)}, missing {missing}.")
        edits = tuple(edit_from_dict(edit).to_dict() for edit in record["edits"])
        given = {**{name: record[name] for name in needed}, "plan": record.get("plan")}
        known = record.get("ancestors")
        given["ancestors"] = None if known is None else tuple(map(str, known))
        return cls(**{**given, "edits": edits, "redraws": tuple(record["redraws"])})
