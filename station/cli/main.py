"""The command ``carril``: finds the sub-command, imports only that one, and speaks in sentences.

A sub-command is a module with ``register(subparsers)``, which adds a parser whose default ``command`` is a
function from the parsed arguments to the exit code. Others join through the entry-point group
``carril.commands``, whose entries name such a ``register``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from station import __version__
from station.cli.errors import UserError

GROUP = "carril.commands"
COMMANDS = ("run", "check", "status", "probe", "verify", "sim")
"""Our own sub-commands, in the order of the help; each is a module of this package."""

Subparsers = Any
"""What ``argparse.ArgumentParser.add_subparsers`` returns: its class is private."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``carril`` and return its exit code."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        parsed = _parser(given).parse_args(given)
        code: int = parsed.command(parsed)
        sys.stdout.flush()
        return code
    except UserError as error:
        print(f"carril: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # `carril … | head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """Build the parser; with a known sub-command only of that one, so that the others are not imported."""
    parser = argparse.ArgumentParser(
        prog="carril", description="The open controller for border inspection lanes.", allow_abbrev=False
    )
    parser.add_argument("--version", action="version", version=f"carril {__version__}")
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True, title="commands")
    found = _commands()
    wanted = [given[0]] if given and given[0] in found else list(found)
    for name in wanted:
        found[name]()(subparsers)
    return parser


def _commands() -> dict[str, Callable[[], Callable[[Subparsers], None]]]:
    """Return for each sub-command what imports it and gives its ``register``; ours come first and win."""

    def ours(name: str) -> Callable[[], Callable[[Subparsers], None]]:
        return lambda: import_module(f"station.cli.{name}").register

    others = {entry.name: entry.load for entry in entry_points(group=GROUP)}
    return {
        **{name: ours(name) for name in COMMANDS},
        **{n: o for n, o in others.items() if n not in COMMANDS},
    }
