"""The command line: `synth`, a group whose commands are imported only when they are run."""

import re
from importlib import import_module

import click

from synth import __version__
from synth.cli.signals import ended_by_signals
from synth.errors import SynthError
from synth.process import claim_process

# name -> (module whose click command is called `command`, its line in the group's help); listed in this order
COMMANDS = {
    "check": ("synth.cli.check", "Say what a dataset folder holds and everything that is wrong with it."),
    "generate": ("synth.cli.generate", "Generate synthetic cases: four modalities and exact labels each."),
    "export": ("synth.cli.export", "Write sets for nnU-Net, MONAI, BIDS and others, with splits that do not leak."),
    "layouts": ("synth.cli.layouts", "Make, edit, show and measure the label layouts that the generator paints."),
    "merge": ("synth.cli.merge", "Join the shards of one run into the set that it had written alone."),
    "reconstruct": ("synth.cli.reconstruct", "Paint each case's own layout in its own style, beside the real scan."),
    "replay": ("synth.cli.replay", "Make single samples of a run again, to the byte, from its manifest."),
    "report": ("synth.cli.report", "Check a set against real scans: an offline page, numbers, and an exit code."),
    "segment": ("synth.cli.segment", "Segment scans: labels on their own grid, measured where the truth is known."),
    "train": ("synth.cli.train", "Train a network on your own cases."),
    "utility": ("synth.cli.utility", "Measure what training on synthetic pairs is worth on real scans."),
    "view": ("synth.cli.view", "Show cases or layouts in an interactive page that works offline."),
}


_WORDS = "synth.words"
_QUOTED = re.compile("`[^`]*`")  # commands given in full
_OPTION = re.compile(r"(?<![\w`-])--[a-z]+(?:-[a-z]+)*")


class LazyGroup(click.Group):
    """A group that knows its commands from a table, and turns synth's errors into one line for all of them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        return import_module(COMMANDS[cmd_name][0]).command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table itself: no command is imported for the group's help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def __call__(self, *args, **options):
        """Be the command of this process."""
        claim_process()
        return super().__call__(*args, **options)

    def main(self, *args, **options):
        """Parse and run; Ctrl-C and SIGTERM end the process at once."""
        with ended_by_signals():
            return super().main(*args, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words of the command: which one it is decides what a sentence may advise."""
        ctx.meta[_WORDS] = tuple(args)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context):
        """Run a command; a `SynthError` ends it with its sentence and code 1, training's second Ctrl-C with 130."""
        try:
            return super().invoke(ctx)
        except SynthError as error:
            raise click.ClickException(_advisable(str(error), self, ctx)) from error
        except OSError as error:
            if error.filename is None:  # not about a file of the user's: a defect, to be seen whole
                raise
            reason = error.strerror or type(error).__name__
            raise click.ClickException(f"{error.filename}: {reason}; check the path and its permissions.") from error
        except KeyboardInterrupt:
            click.echo("\nInterrupted.", err=True)
            ctx.exit(130)


def _advisable(sentence: str, command: click.Command, ctx: click.Context) -> str:
    """A sentence; where it names options that the command lacks (rooms below know no command), it says so."""
    names = []
    for word in ctx.meta.get(_WORDS, ()):
        if not isinstance(command, click.Group) or (inner := command.get_command(ctx, word)) is None:
            break
        command, names = inner, [*names, word]
    known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
    strange = [option for option in dict.fromkeys(_OPTION.findall(_QUOTED.sub("", sentence))) if option not in known]
    return f"{sentence} (`synth {' '.join(names)}` has no {' or '.join(strange)}.)" if strange else sentence


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="synth")
def main():
    """Synthetic brain-tumour MRI with exact labels, from BraTS scans or from none.

    Research use only: nothing here is a medical device.
    """
