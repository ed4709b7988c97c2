"""losses.csv: the numbers of a training, a line for every `log_every` steps."""

import csv
from pathlib import Path


class CsvLog:
    """Adds lines to losses.csv and remembers them; lines beyond the step resumed from are dropped.

    Args:
        path: of the file.
        start: the step that the run goes on from.

    Attributes:
        rows: (step, values) of every line.
    """

    def __init__(self, path: Path, start: int):
        self.path, self.names, self.handle = path, None, None
        self.rows: list[tuple[int, dict[str, float]]] = []
        if path.is_file():
            with path.open(newline="") as handle:
                rows = [row for row in csv.DictReader(handle) if (row.get("step") or "").isdigit()]
            # a line torn by a kill lacks values
            rows = [row for row in rows if int(row["step"]) <= start and all(row.values())]
            if rows:
                self._open([name for name in rows[0] if name])
                self.writer.writerows(rows)
                self.handle.flush()
                for row in rows:
                    self.rows.append((int(row["step"]), {n: float(row[n]) for n in self.names if n != "step"}))

    def write(self, step: int, values: dict[str, float]) -> None:
        """Add a line."""
        if self.handle is None:
            self._open(["step", *values])
        self.writer.writerow({"step": step, **{name: f"{value:.6f}" for name, value in values.items()}})
        self.handle.flush()
        self.rows.append((step, values))

    def means(self, after: int, until: int) -> dict[str, float]:
        """Means of the lines of steps beyond `after`, up to `until`."""
        values = [row for step, row in self.rows if after < step <= until]
        return {name: round(sum(v[name] for v in values) / len(values), 6) for name in values[0]} if values else {}

    def close(self) -> None:
        """Close the file."""
        if self.handle is not None:
            self.handle.close()

    def _open(self, names: list[str]) -> None:
        self.names = names
        self.handle = self.path.open("w", newline="")
        self.writer = csv.DictWriter(self.handle, names, extrasaction="ignore")
        self.writer.writeheader()
