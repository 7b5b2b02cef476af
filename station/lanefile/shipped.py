"""Where the files of config/ are: in the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import station
from station.lanefile.problems import UnknownName


def config_folder() -> Path:
    """Return the folder that holds lanes/, scenarios/ and schema/."""
    package = Path(station.__file__).parent
    installed = package / "_config"
    return installed if installed.is_dir() else package.parent / "config"


def shipped(kind: Literal["lanes", "scenarios"], name: str) -> Path:
    """Return the shipped file called ``name`` (without ``.toml``).

    Raises ``UnknownName`` with a sentence that names what there is.
    """
    folder = config_folder() / kind
    names = sorted(path.stem for path in folder.glob("*.toml"))
    if name in names:
        return folder / f"{name}.toml"
    raise UnknownName(f"nothing of this name is shipped; there are {', '.join(names)}", name, names)
