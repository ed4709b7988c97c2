"""A set as a BIDS derivative, and what the BIDS validator says of it.

    pip install bids-validator-deno
    synth generate --n 4 --out set
    python examples/bids_validate.py set --out bids

`--real` puts patients' scans beside the painted ones; names, sidecars and `participants.tsv` say which is which. The
validator's warnings are of fields that painted scans cannot have, such as a scanner's parameters.
"""

import argparse
import json
import shutil
import subprocess
from collections import Counter

from synth import export


def main(arguments: list[str] | None = None) -> None:
    """Export, validate, print what was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("set", help="folder or HDF5 set of `synth generate`")
    parser.add_argument("--real", action="append", default=[], help="real cases, along with them")
    parser.add_argument("--out", default="bids", help="a new folder")
    options = parser.parse_args(arguments)

    print(export([options.set], options.out, to="bids", real=options.real).sentence())
    if shutil.which("bids-validator-deno") is None:
        raise SystemExit(f"{options.out} is complete. To validate it: pip install bids-validator-deno")
    line = ["bids-validator-deno", options.out, "--json"]
    issues = json.loads(subprocess.run(line, capture_output=True, text=True).stdout)["issues"]["issues"]
    found = Counter((issue.get("severity", "error"), issue["code"]) for issue in issues)
    for (severity, code), count in sorted(found.items()):
        print(f"{severity}: {code}, {count} times")
    errors = sum(count for (severity, _), count in found.items() if severity == "error")
    print(f"{errors} errors")
    if errors:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
