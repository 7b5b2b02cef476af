"""Signed heads of a station, kept where it cannot reach them: they tell later whether its history goes on.

::

    heads.txt       the heads as they came, six lines each, the newest last
    head.pub        the keys that count: the one of the first contact, or what a person puts there
    heads.damaged   what somebody changed there
    contradiction   two statements of the station that cannot both be true; written when they were found
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from station.cli.archive import append_synced, own_disk
from station.cli.errors import UserError
from station.cli.pages import Page
from station.store.files import replace_synced, sync_folder
from station.store.heads import Head, public_keys, read_note

NEWEST, DAYS, MOST = 1_000, 4_000, 6_000
"""Above ``MOST`` heads the newest 1,000 stay, and of the older ones the last of each day."""
_BEGIN = re.compile(r"^(?=carril/)", re.MULTILINE)


class Witness:
    """The heads of one station. What contradicts them raises ``UserError`` with exit code 1."""

    def __init__(self, folder: Path, alarm: Callable[[str], None]) -> None:
        """Take up what is kept there; ``alarm`` says something loudly."""
        self._file, self._keys_file = folder / "heads.txt", folder / "head.pub"
        self._contradiction = folder / "contradiction"
        self._alarm = alarm
        self._keys: list[bytes] = []
        self._kept: list[tuple[Head, str]] = []

    def meet(self, key: object) -> None:
        """Learn with which key the station signs (``head_key`` of the index), and read what is kept."""
        if not isinstance(key, str):
            return  # an older station signs nothing
        try:
            with own_disk(self._file.parent):
                if not self._keys_file.exists():
                    public_keys(key)
                    replace_synced(self._keys_file, f"{key}\n".encode())
                self._keys = public_keys(self._keys_file.read_text(encoding="utf-8"))
                known = public_keys(key)[0] in self._keys
                text = self._file.read_text("utf-8", "replace") if self._file.exists() else ""
        except ValueError as error:
            raise UserError(f"the station's key, or {self._keys_file}, {error}") from error
        if not known:
            self._alarm(
                f"the station signs with a key that {self._keys_file} does not name; its heads are not kept. "
                "If a person there says that it is right, add it"
            )
        self._read(text)

    def _read(self, text: str) -> None:
        """Take up the heads of a file; the last may be half of one, of a process that ended."""
        lines, _, half = text.rpartition("\n")
        notes, damaged = [each for each in _BEGIN.split(f"{lines}\n") if each.strip()], ""
        for at, note in enumerate(notes):
            try:
                self._kept.append((read_note(note, self._keys), note))
            except ValueError as error:
                damaged = damaged or (f"a head in {self._file} {error}" if at + 1 < len(notes) else "")
        if damaged:
            with own_disk(self._file.parent):
                self._file.replace(self._file.with_suffix(".damaged"))
                sync_folder(self._file.parent)
            self._alarm(f"{damaged}. The file is kept as heads.damaged")
        if half or len(self._kept) < len(notes):
            self._write()

    def newest(self, epoch: str) -> Head | None:
        """Return the newest head that is kept of an epoch."""
        return max(
            (head for head, _ in self._kept if head.epoch == epoch), key=lambda each: each.seq, default=None
        )

    # --- what the station says now -----------------------------------------------------------------

    def look(self, page: Page, station: str, cursor_seq: int, cursor_hash: str) -> None:
        """Hold the head of a page against the page, the record before it, and what is kept."""
        came = {item.seq: item.hash for item in page.items if item.withheld != "damaged"}
        if cursor_hash:
            came[cursor_seq] = cursor_hash
        for kept, before in self._kept:
            if kept.epoch == page.epoch:
                self._hold(kept, before, came)
        note = page.signed_head
        if note is None or any(note == before for _, before in reversed(self._kept)):
            return
        try:
            head = read_note(note, self._keys)
        except ValueError as error:
            return self._alarm(f"the station's signed head {error}. It is not kept")
        if (head.station, head.epoch) != (station, page.epoch):
            return self._alarm("the station sends a head of another station or epoch. It is not kept")
        self._hold(head, note, came)
        for kept, before in self._kept:
            if (kept.epoch, kept.seq) == (head.epoch, head.seq) and kept.hash != head.hash:
                self._contradicted(head, f"it signed {kept.hash.hex()} before", before + note)
        with own_disk(self._file.parent):
            append_synced(self._file, note.encode())
        self._kept.append((head, note))
        if len(self._kept) > MOST:
            self._thin()

    def _hold(self, head: Head, note: str, came: Mapping[int, str]) -> None:
        if (hash_ := came.get(head.seq)) is not None and hash_ != head.hash.hex():
            self._contradicted(head, f"it sent {hash_}", note)

    def hold_against(self, head: Head, hash_: str) -> None:
        """Hold a head that is kept against what the station says of its record now."""
        if hash_ != head.hash.hex():
            note = next(note for kept, note in self._kept if kept is head)
            self._contradicted(head, f"it says {hash_} now", note)

    def begun_anew(self, previous: str, last: int | None, hash_: str | None) -> None:
        """Say so if the journal that a new epoch follows is not the one that was signed."""
        head = self.newest(previous)
        if head is None or last is None:
            return
        if head.seq > last:
            self._alarm(
                f"the new journal follows one that ended at record {last}, but records up to {head.seq} were "
                "signed. Tell a person"
            )
        elif head.seq == last and hash_ and hash_ != head.hash.hex():
            self._alarm(
                f"the new journal follows another record {last} than the one that was signed. Tell a person"
            )

    def _contradicted(self, head: Head, otherwise: str, notes: str) -> None:
        text = f"record {head.seq} of epoch {head.epoch}: the station signed {head.hash.hex()}, {otherwise}"
        with own_disk(self._contradiction.parent):
            replace_synced(self._contradiction, f"{text}\n\n{notes}".encode())
        raise UserError(
            f"ALARM: the station's history does not continue what is kept here: {text}. Nothing more is "
            f"taken; the proof stands in {self._contradiction}. Tell a person",
            1,
        )

    # --- its file ---------------------------------------------------------------------------------

    def _thin(self) -> None:
        days = {head.time[:10]: (head, note) for head, note in self._kept[:-NEWEST]}
        self._kept = [*list(days.values())[-DAYS:], *self._kept[-NEWEST:]]
        self._write()

    def _write(self) -> None:
        with own_disk(self._file.parent):
            replace_synced(self._file, "".join(note for _, note in self._kept).encode())
