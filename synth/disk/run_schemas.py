"""What the two files of a run may say, whichever command wrote them: `run.json` and a line of `manifest.jsonl`.

Entries may be missing and there may be others: each command asks for its own. What is there is of this type and range.
"""

from synth.brats import NAMINGS, REGIONS
from synth.disk.json_files import DIGEST, NAME, PATH, SHARE, TEXT, WHOLE, Schema, fields, listed, mapped, optional

_ANY = {"type": "object"}
SETTINGS = Schema(  # of a run of any command
    "the settings of a run",
    fields(
        {},
        {
            "synth": TEXT,
            "made_by": TEXT,
            "format": TEXT,
            "naming": {"enum": [*NAMINGS]},
            "n": WHOLE,
            "seed": WHOLE,
            "first": WHOLE,
            "cases": WHOLE,
            "shard": listed(WHOLE, 2, 2),
            # of a run, how its cases are called; of an export, a checksum of what they are called
            "ids": {
                **fields({}, {"prefix": TEXT, "first": WHOLE, "digits": {**WHOLE, "maximum": 20}}),
                "type": ["object", "string"],
            },
            "model": fields({}, {"name": optional(TEXT), "hash": TEXT, "kernels": TEXT, "precision": TEXT}),
            "libraries": mapped(TEXT),
            "reading": fields({}, {"labels": TEXT, "resample": {"type": "boolean"}, "healthy": {"type": "boolean"}}),
            "to": TEXT,
            "sets": listed(TEXT),
            "real": listed(TEXT),
            "options": _ANY,
            "edits": _ANY,
        },
    ),
)
DRAWN = Schema("the settings of a run of `synth layouts`", fields({"seed": WHOLE}))
_PAINTED = {
    **{"seed": WHOLE, "format": TEXT, "naming": {"enum": [*NAMINGS]}},
    "model": fields({"name": TEXT, "hash": TEXT}),
}
PAINTED = Schema("the settings of a run that painted", fields(_PAINTED))  # by which its samples can be painted again
SHARD = Schema("the settings of a shard", fields({**_PAINTED, "synth": TEXT, "n": WHOLE, "shard": listed(WHOLE, 2, 2)}))
RECORD = Schema(  # of a sample of any command
    "the record of a sample",
    fields(
        {"index": WHOLE},
        {
            "id": NAME,
            "files": mapped(DIGEST, PATH),
            "host": optional(TEXT),
            "donor": optional(TEXT),
            "seed": optional(WHOLE),
            "attempt": WHOLE,
            "edits": listed(_ANY),
            "redraws": listed({}),
            "style": optional(_ANY),
            "plan": optional(_ANY),
            "gate": optional(fields(dict.fromkeys(REGIONS, SHARE))),
            "scores": optional(_ANY),
            "source": {**fields({}, {"set": TEXT, "id": TEXT}), "type": ["string", "object", "null"]},
            "patients": optional(listed(TEXT)),
            "ancestors": optional(listed(TEXT)),
            "real": {"type": "boolean"},
            "model": optional(fields({}, {"name": TEXT, "hash": TEXT})),
            "fingerprint": listed(TEXT),
        },
    ),
)
