"""Nobody but SQLite touches its files: one open and close by us would drop its locks and lose commits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# The whole life of a store: work, checkpoint, poisoned handle, restart, new epoch, verify. Python reports
# each file that it opens itself; what SQLite opens, it does not see.
PROGRAM = """
import os, pathlib, re, sys
opened = []

def hear(event, arguments):
    # In quarantine nobody has it open, and nobody writes.
    name = os.fsdecode(arguments[0]) if event == "open" else ""
    if re.search(r"station\\.db", name) and "/quarantine/" not in name:
        opened.append((os.fsdecode(arguments[0]), arguments[1:]))

sys.addaudithook(hear)
from station.store import writer
from station.store.errors import StoreError
from station.store.feed import read_after
from station.store.verify import verify
from station.store.writer import Writer
from tests.support.journal import draft, open_small

state = pathlib.Path(sys.argv[1])
writer.PASSIVE_FRAMES = 10
store = open_small(state)
for n in range(20):
    store.append_soon([draft(n=n)]).result(10)
store.keep_blob(b"x", "text/plain")
store._readers.look(lambda view: read_after(view, 0, 100))
assert store.quota_ratio > 0 and store.stats.log_bytes > 0

commit = Writer._commit
def fail_once(self, tx):
    Writer._commit = commit
    raise OSError(5, "Input/output error")
Writer._commit = fail_once
try:
    store.append_soon([draft()]).result(10)
except StoreError:
    pass
assert store.stats.reopened == 1
store.append_soon([draft()]).result(10)
store.close()
assert verify(state).ok
(state / "mark.bin").unlink()
store = open_small(state)
assert store.before is not None
store.close()
assert verify(state).ok
with open("/proc/self/maps") as maps:
    libraries = {line.split()[-1] for line in maps if "sqlite3.so" in line and "_sqlite3" not in line}
print(len(opened), opened[:3], len(libraries))
"""


def test_no_code_of_ours_opens_the_database(tmp_path: Path, root: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "state")]
    said = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=30)
    assert said.returncode == 0, said.stderr
    opened, *_, libraries = said.stdout.split()
    assert opened == "0", said.stdout
    assert libraries in ("0", "1"), "more than one SQLite library is loaded"  # 0: built into Python
