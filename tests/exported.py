"""What the tests of `synth export` share: painted sets with lineage, made of phantoms without a network."""

import json
from pathlib import Path

from phantoms import phantom_case, write_case

from synth.brats import NAMINGS
from synth.disk.manifest import MANIFEST, RUN
from synth.exporters import open_exporter

SMALL = (20, 24, 18)


def painted_set(folder, hosts, *, naming="brats2020", form="nifti", first=0, donors=(), seed=7) -> Path:
    """A set as `synth generate` leaves it: sample k has the anatomy of `hosts[k]` and, where given, of `donors[k]`."""
    folder, records = Path(folder), []
    with open_exporter(form, folder, naming=NAMINGS[naming]) as exporter:
        for k, host in enumerate(hosts):
            case_id = f"Synth_{first + k:05d}"
            case = phantom_case(SMALL, seed=100 + first + k, case_id=case_id)
            donor = donors[k] if k < len(donors) else None
            record = {"index": k, "id": case_id, "host": host, "donor": donor, "seed": seed}
            records.append({**record, "files": exporter.write(case)})
    settings = {"synth": "0", "format": form, "naming": naming, "n": len(hosts), "seed": seed}
    (folder / RUN).write_text(json.dumps({**settings, "model": {"name": "default", "hash": "abc123"}}))
    (folder / MANIFEST).write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))
    return folder


def real_folder(folder, ids, *, naming="brats2020", seeds=None, **options) -> Path:
    """Real cases by these ids, written with nibabel alone."""
    for k, case_id in enumerate(ids):
        seed = k if seeds is None else seeds[k]
        write_case(folder, phantom_case(SMALL, seed=seed, case_id=case_id), naming=NAMINGS[naming], **options)
    return Path(folder)


def tree(folder) -> dict:
    """Every file below a folder, links and hidden ones too, with its bytes."""
    paths = sorted(p for p in Path(folder).rglob("*") if p.is_file() and p.name != ".synth.lock")
    return {str(p.relative_to(folder)): p.read_bytes() for p in paths}
