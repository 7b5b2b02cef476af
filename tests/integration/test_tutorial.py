"""Every command of docs/tutorials/your-first-lane.md, in order, in a folder of its own.

The info string of a block says how it is run. ``start`` goes on until ``stop``, which ends it as Ctrl-C does
before its own commands run; ``run`` ends by itself. ``shows`` is a pattern that the output must hold: the
block is repeated until it does. ``exits`` is the exit code (0). Two things differ from the page: the port is
a free one, and ``make run`` is replaced by the command with which it ends, since set-up is done.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from drivers.plant.rig import free_port

LIMIT_S = 45.0
AGAIN_S = 0.3


@dataclass(frozen=True, slots=True)
class Step:
    """One block of the page."""

    kind: str
    commands: str
    shows: str = ""
    exits: int = 0


def steps(page: str) -> list[Step]:
    found = []
    for info, commands in re.findall(r"^```sh ?(.*?)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
        kind, *attributes = shlex.split(info)
        given = dict(attribute.split("=", 1) for attribute in attributes)
        found.append(Step(kind, commands, given.get("shows", ""), int(given.get("exits", "0"))))
    return found


@dataclass(slots=True)
class Reader:
    """Somebody who types what the page says; the last ``start`` is the terminal that is left running."""

    folder: Path
    running: subprocess.Popen[bytes] | None = None
    logs: list[Path] = field(default_factory=list)

    def follow(self, step: Step) -> None:
        if step.kind == "start":
            self.stop()
            self.start(step)
            return
        if step.kind == "stop":
            self.stop()
        ends_s = time.monotonic() + LIMIT_S
        while True:
            done = subprocess.run(
                ["bash", "-c", step.commands], cwd=self.folder, capture_output=True, text=True, timeout=30
            )
            said = done.stdout + done.stderr
            if done.returncode == step.exits and re.search(step.shows, said):
                return
            assert step.shows, f"{step.commands}exit code {done.returncode}: {said}"
            assert time.monotonic() < ends_s, f"{step.commands}never shows {step.shows!r} but: {said}"
            time.sleep(AGAIN_S)

    def start(self, step: Step) -> None:
        log = self.folder / f"terminal-{len(self.logs)}.txt"
        self.logs.append(log)
        with log.open("wb") as out:
            self.running = subprocess.Popen(
                ["bash", "-ec", step.commands],
                cwd=self.folder,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        ends_s = time.monotonic() + LIMIT_S
        while not re.search(rf"{step.shows}.*Ctrl-C stops", self.said(), re.DOTALL):
            assert self.running.poll() is None, f"it ended: {self.said()}"
            assert time.monotonic() < ends_s, self.said()
            time.sleep(AGAIN_S)

    def said(self) -> str:
        return self.logs[-1].read_text(encoding="utf-8")

    def stop(self) -> None:
        if self.running is not None:
            os.killpg(self.running.pid, signal.SIGINT)
            assert self.running.wait(15) == 0, self.said()
            self.running = None

    def end(self) -> None:
        if self.running is not None and self.running.poll() is None:
            os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()


@pytest.mark.timeout(150)
def test_every_command_of_the_tutorial_does_what_the_page_says(root: Path, tmp_path: Path) -> None:
    page = (root / "docs" / "tutorials" / "your-first-lane.md").read_text(encoding="utf-8")
    makefile = (root / "Makefile").read_text(encoding="utf-8")
    (ends_with,) = re.findall(r"^\texec \$\(BIN\)/(carril run .*)$", makefile, re.MULTILINE)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "carril").symlink_to(Path(sys.executable).parent / "carril")
    (tmp_path / "config").symlink_to(root / "config")
    port = str(free_port())
    page = page.replace("make run\n", f"exec .venv/bin/{ends_with.replace('$(PORT)', '8080')}\n")
    page = page.replace("8080", port)

    done = steps(page)
    assert [step.kind for step in done].count("start") == 2
    reader = Reader(tmp_path)
    try:
        for step in done:
            reader.follow(step)
        reader.stop()
    finally:
        reader.end()
    assert (tmp_path / "my-state").is_dir()
    assert (tmp_path / ".state").is_dir()
