"""`python -m sandbox <subcommand>`; a new subcommand is one more entry in the list below."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from sandbox.commands import COMMANDS as CLUSTER_COMMANDS
from sandbox.commands import Subcommand
from sandbox.demo import command as demo
from sandbox.errors import SandboxError

COMMANDS = (
    *CLUSTER_COMMANDS,
    Subcommand("demo", "play the quickstart on recorded traffic and judge it", demo.arguments, demo.run),
)


def main(argv: Sequence[str] | None = None) -> int:
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    parser = argparse.ArgumentParser(
        prog="python -m sandbox", description="A real Kubernetes control plane and Prometheus on this machine."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        sub = subparsers.add_parser(command.name, help=command.help, description=command.help)
        command.arguments(sub)
        sub.set_defaults(run=command.run)
    args = parser.parse_args(argv)
    try:
        status: int = args.run(args)
    except SandboxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return status


if __name__ == "__main__":
    sys.exit(main())
