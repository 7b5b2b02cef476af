"""What ``carril status`` writes for a person: nothing that is empty, and bytes as the text that they are."""

from __future__ import annotations

from station.cli.status import lines

PORTAL = b"5,000121\r\nGS,000108,000119,000130,000136\r\nGX,000001,002967,000000,000000\r\n"
DEVICE = {
    "name": "rpm1",
    "cause": "",
    "identity": {"make": "", "model": ""},
    "bad_frames": {"not_ascii": 3},
    "last_bad_frames": [
        {"kind": "not_ascii", "offset": 4096, "head_hex": b"GS,\xff1".hex(" ")},
        {"kind": "columns", "offset": 4201, "head_hex": b"GS,1,2".hex(" ")},
    ],
    "tail_hex": PORTAL.hex(" "),
}


def tail(data: bytes) -> list[str]:
    heading, *shown = lines({"tail_hex": data.hex(" ")})
    assert heading == "tail:"
    return [line.removeprefix("  ") for line in shown]


def test_a_device_is_shown_without_what_is_empty() -> None:
    assert lines(DEVICE) == [
        "name:                    rpm1",
        "bad_frames:",
        "  not_ascii:             3",
        "last_bad_frames:",
        "  - kind:                not_ascii",
        "    offset:              4096",
        "    head:",
        "      47 53 2c ff 31",
        "  - kind:                columns",
        "    offset:              4201",
        "    head:",
        "      GS,1,2",
        "tail:",
        "  5,000121",
        "  GS,000108,000119,000130,000136",
        "  GX,000001,002967,000000,000000",
    ]


def test_bytes_that_are_no_text_are_shown_in_hex_row_by_row() -> None:
    data = bytes(range(256)) * 2
    shown = tail(data)
    assert [len(row.split()) for row in shown] == [32] * 16
    assert bytes.fromhex(" ".join(shown)) == data


def test_one_damaged_line_does_not_hide_the_others() -> None:
    damaged = b"GB,0006\x9b5,000598\r\n"
    assert tail(PORTAL + damaged + PORTAL)[3] == damaged.rstrip().hex(" ")
    assert tail(PORTAL + damaged + PORTAL)[4:] == tail(PORTAL)


def test_what_a_device_sends_cannot_steer_the_terminal() -> None:
    for byte in {*range(0x20), *range(0x7F, 0x100)} - set(b"\r\n\t"):
        assert bytes([byte]).decode("latin-1") not in "\n".join(tail(PORTAL + bytes([byte]) + PORTAL))
