"""The command `kubectl fleet`. Commands are loaded when they are called, so that help comes at once."""

from __future__ import annotations

import os
import sys
from importlib import import_module

import click

INTERRUPTED = 130
"""As shells say it of Ctrl-C; 1 would be an answer."""
COMMANDS = {
    "fit": "Which GPUs and weight formats hold a model, and the KV cache room that is left.",
    "size": "What one replica can do, and how many a request rate needs.",
    "recommend": "GPU, tensor parallelism and format, ranked by dollars at the objectives.",
    "why": "Why a live fleet is as large as it is, in ten lines, and what would change that.",
    "explain": "The same at length, and every number recomputed from its status.",
    "snapshot": "What the operator saw at its latest tick, saved for what-if.",
    "what-if": "Plan a saved snapshot again with something changed, and show the difference.",
    "simulate": "Replay a trace on fleets and pools under our planner or a peer's control law.",
}


class LazyGroup(click.Group):
    """A group whose commands are modules `inferencefleet.cli.<name without dashes>.command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        package = cmd_name.replace("-", "")
        command: click.Command = import_module(f"inferencefleet.cli.{package}.command").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from inferencefleet.catalog.errors import closest  # brings the whole catalogue

            near = closest(args[0], COMMANDS, count=1)[0]
            ctx.fail(f"no command {args[0]!r}; closest: {near} (known: {', '.join(COMMANDS)})")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


def _version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"kubectl-fleet {version('inferencefleet')}")
        ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    epilog="Exit codes: 0 answered; 1 answered, and the answer is no (nothing serves, or status and recomputation "
    "differ); 2 bad input; 3 nothing there to explain.",
)
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_version, help="Say the version.")
def fleet() -> None:
    """Size vLLM fleets from physics and prices.

    Works without a cluster; only why, explain and snapshot ask one. Figures are planning estimates before the first
    measurement, not a load test: every answer says how sure it is.
    """


def main() -> None:
    """Entry point of `kubectl-fleet` and of `python -m inferencefleet.cli`."""
    plugin = os.path.basename(sys.argv[0]).startswith("kubectl-fleet")
    name = "kubectl fleet" if plugin else "python -m inferencefleet.cli"
    try:
        code = fleet(prog_name=name, standalone_mode=False)
    except click.Abort:
        click.echo("Interrupted; nothing is answered.", err=True)
        code = INTERRUPTED
    except click.ClickException as refused:
        refused.show()
        code = refused.exit_code
    except OSError as error:  # inputs are refused where they are read, so this is standard output
        click.echo(f"Error: the answer cannot be written: {error.strerror}; give it another place", err=True)
        code = 2
    sys.exit(code)
