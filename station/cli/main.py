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
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from station import __version__
from station.cli.errors import UserError

GROUP = "carril.commands"
COMMANDS = (
    "run",
    "check",
    "status",
    "stats",
    "image",
    "probe",
    "verify",
    "bundle",
    "consume",
    "conformance",
    "drop",
    "sim",
)
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
    others = {entry.name: entry for entry in entry_points(group=GROUP) if entry.name not in COMMANDS}
    chosen = [name for name in (*COMMANDS, *others) if [name] == list(given[:1])]
    for name in chosen or (*COMMANDS, *others):
        if name in COMMANDS:
            import_module(f"station.cli.{name}").register(subparsers)
        else:
            _register_other(others[name], subparsers, needed=bool(chosen))
    return parser


def _register_other(entry: EntryPoint, subparsers: Subparsers, *, needed: bool) -> None:
    """Add the command of another package; one that is broken must not cost the help of all others."""
    try:
        register: Callable[[Subparsers], None] = entry.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        sentence = (
            f"the command {entry.name} cannot be loaded ({entry.value}: {error}); reinstall its package"
        )
        if needed:
            raise UserError(sentence) from error
        print(f"carril: warning: {sentence}", file=sys.stderr)
    else:
        register(subparsers)
