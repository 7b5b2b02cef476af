"""Secrets of a lane file are references, ``{ credential = "NAME" }``, never values.

The value is a file of that name in the folder that the service manager names in CREDENTIALS_DIRECTORY
[systemd.exec, LoadCredential=]. It is never printed, and the hash of the lane file does not depend on it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr

from station.lanefile.problems import Problem

LONGEST_SECRET = 4096
HOW = 'must be a reference, { credential = "NAME" }: a lane file holds no secret'


def resolve(
    written: Mapping[str, Any], model: type[BaseModel], place: str
) -> tuple[dict[str, Any], list[Problem]]:
    """Return the options with their references replaced by the secrets, and what is wrong with those."""
    options = dict(written)
    problems: list[Problem] = []
    for key, field in model.model_fields.items():
        if key not in written or SecretStr not in (field.annotation, *get_args(field.annotation)):
            continue
        reference = written[key]
        name = reference.get("credential") if isinstance(reference, dict) and len(reference) == 1 else None
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
            problems.append(Problem(f"{place}.{key}", None, HOW))
            options.pop(key)
            continue
        secret, wrong = _secret(name)
        options[key] = secret
        if wrong:
            problems.append(Problem(f"{place}.{key}", f'{{ credential = "{name}" }}', wrong))
    return options, problems


def _secret(name: str) -> tuple[str, str | None]:
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    if not folder:
        return "?", "there are no credentials: CREDENTIALS_DIRECTORY is not set (systemd sets it)"
    try:
        with (Path(folder) / name).open(encoding="utf-8") as file:
            return file.read(LONGEST_SECRET).rstrip("\n"), None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        return "?", f"the credential cannot be read ({reason}); add LoadCredential={name} to the service"
