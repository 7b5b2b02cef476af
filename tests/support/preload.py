"""Small C libraries that a test loads before everything else into a process of its own."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

OPTIONS = ("-std=gnu11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC")


def compiled(source: Path, folder: Path) -> Path | None:
    """Compile a library into ``folder``; ``None`` without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = folder / f"{source.stem}.so"
    subprocess.run([compiler, *OPTIONS, "-o", library, source], check=True)
    return library
