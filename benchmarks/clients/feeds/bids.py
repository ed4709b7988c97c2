"""The BIDS validator: no error."""

import json
import subprocess

from told import FOLDERS, check

((name, folder),) = FOLDERS.items()
done = subprocess.run(["bids-validator-deno", str(folder), "--json"], capture_output=True, text=True)
print(done.stderr)
found = json.loads(done.stdout)
issues = found["issues"]["issues"]
errors = [issue for issue in issues if issue.get("severity") == "error"]
for issue in issues[:20]:
    print(issue)
check(not errors, f"{len(errors)} errors, first: {errors[:1]}")
subjects = found["summary"]["subjects"]
warnings = sorted({issue["code"] for issue in issues if issue.get("severity") == "warning"})
print(f"0 errors, {len(subjects)} subjects; warnings: {', '.join(warnings) or 'none'}")
