"""The checks of a report as a Markdown table, for the documents.

python benchmarks/report_table.py checked/report.json
"""

import json
import sys


def said(value: float | None, unit: str = "") -> str:
    """A number as the table tells it."""
    if value is None:
        return "–"
    if unit.startswith("of "):
        return f"{value:.0%} {unit}"
    return f"{value:.3g} {unit}".rstrip()


def main(path: str) -> None:
    """Print a table per section."""
    with open(path, encoding="utf-8") as file:
        found = json.load(file)
    sets = found["sets"]
    print(f"{sets['synthetic']['cases']} synthetic, {sets['real']['cases']} real cases. {sets['split']}\n")
    for section in found["sections"]:
        counts = ", ".join(f"{n} {name}" for name, n in section["counts"].items() if n)
        print(f"**{section['title']}: {section['verdict']}** ({counts})\n")
        print("| check | value | real scans: median (5 to 95 %) | verdict |\n|---|---|---|---|")
        for check in section["checks"]:
            yard = check["yardstick"]
            real = "–" if yard is None else f"{said(yard['median'])} ({said(yard['low'])} to {said(yard['high'])})"
            print(f"| {check['title']} | {said(check['value'], check['unit'])} | {real} | {check['verdict']} |")
        print()


if __name__ == "__main__":
    main(sys.argv[1])
