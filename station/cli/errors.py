"""What the command line says when something is not as it must be."""

from __future__ import annotations


class UserError(Exception):
    """One sentence for the person at the keyboard: what was read, what is allowed, what to do.

    Printed as it is, without a traceback; nothing was changed. The exit code is 2 unless stated otherwise.
    """

    def __init__(self, sentence: str, exit_code: int = 2) -> None:
        """Keep the sentence."""
        super().__init__(sentence)
        self.exit_code = exit_code
