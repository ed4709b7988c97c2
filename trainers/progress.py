"""How a training shows where it is: a bar on a terminal, plain lines in a log, nothing where nobody asked."""

import sys
import time

from tqdm import tqdm


class StepProgress:
    """Shows steps on standard error: a bar if that is a terminal, else a line whenever there are numbers to tell.

    Args:
        start: steps done before.
        total: steps in all.
        quiet: show nothing at all.
    """

    def __init__(self, start: int, total: int, *, quiet: bool = False):
        self._total, self._told, self._begun = total, start, time.monotonic()
        terminal = not quiet and sys.stderr is not None and sys.stderr.isatty()
        self._lines = not quiet and not terminal and sys.stderr is not None
        self._bar = None
        if terminal:
            self._bar = tqdm(initial=start, total=total, unit="step", desc="training", smoothing=0.05)

    def advance(self) -> None:
        """One more step is done."""
        if self._bar is not None:
            self._bar.update()

    def tell(self, step: int, numbers: dict[str, float]) -> None:
        """Show the numbers of the steps since the last call."""
        shown = {name: f"{value:.3f}" for name, value in numbers.items()}
        if self._bar is not None:
            self._bar.set_postfix(shown)
        elif self._lines:
            now = time.monotonic()
            seconds = (now - self._begun) / max(step - self._told, 1)
            self._told, self._begun = step, now
            told = ", ".join(f"{name} {value}" for name, value in shown.items())
            try:
                print(f"step {step}/{self._total}, {seconds:.2f} s a step: {told}", file=sys.stderr, flush=True)
            except OSError:  # nobody reads the log any more (`| head`): no reason to stop learning
                self._lines = False

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.close()
