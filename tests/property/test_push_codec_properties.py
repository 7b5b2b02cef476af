"""Any bytes in any segments: the same outcome, never an exception, never too much memory."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from drivers.camera.push.codec import REFUSALS, Event, OtherEvent, Receiver, Request, decode_event
from drivers.readings import BadFrame

FRAME = bytes.fromhex("ffc0 0011 08 0008 0010 03 012200 021101 031101")
HTTP = [
    *(b"POST /x HTTP/1.1\r\nHost: a\r\n", b"GET / HTTP/1.0\r\n", b"Content-Length: 40\r\n", b"\r\n"),
    *(b"Expect: 100-continue\r\n", b"Transfer-Encoding: chunked\r\n", b"5\r\nabcde\r\n", b"0\r\n\r\n"),
]
PARTS = [
    *(b"--x\r\n", b"--x--\r\n", b"--x", b"\xff\xd8", FRAME, b"\xff\xd9", b"\xff\xd8" + FRAME + b"\xff\xd9"),
    b'Content-Disposition: form-data; name="a"; filename="plate.jpg"\r\n\r\n',
]
XML = [
    *(b"<A><ANPR>", b"<licensePlate>AB1</licensePlate>", b"</ANPR></A>", b"<!DOCTYPE a>", b"&#0;", b"\x00"),
    *(b"<confidenceLevel>9e99</confidenceLevel>", b"<dateTime>0001-01-01T00:00:00+14:00</dateTime>"),
]
PIECES = st.sampled_from([*HTTP, *PARTS, *XML])
MESSY = st.lists(PIECES | st.binary(max_size=12), max_size=24).map(b"".join)
TYPES = st.sampled_from(
    ["multipart/form-data; boundary=x", "application/xml", 'multipart/x; boundary="', "", "a;" * 9]
)


def outcome(wire: bytes, cuts: list[int]) -> Request | BadFrame | None:
    receiver = Receiver()
    places = sorted({cut % (len(wire) + 1) for cut in cuts} | {0, len(wire)})
    for start, stop in pairwise(places):
        if (found := receiver.feed(wire[start:stop])) is not None:
            return found
        receiver.interim()
    return receiver.feed(b"")


@given(wire=MESSY, cuts=st.lists(st.integers(0, 4_000), max_size=40))
@example(wire=b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", cuts=[])
@example(wire=b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcdefg", cuts=[3, 38, 45, 46, 49])
@example(wire=b"A" * 40_000, cuts=list(range(0, 4_000, 100)))
def test_segments_do_not_matter(wire: bytes, cuts: list[int]) -> None:
    whole = outcome(wire, [])
    assert isinstance(whole, Request | BadFrame)
    assert outcome(wire, cuts) == whole


@given(
    content_type=TYPES | st.text(st.characters(codec="latin-1"), max_size=40),
    body=MESSY | st.binary(max_size=200),
)
def test_junk_is_an_event_or_a_counted_refusal(content_type: str, body: bytes) -> None:
    decoded = decode_event(content_type, body)
    assert isinstance(decoded, Event | OtherEvent | BadFrame)
    if isinstance(decoded, BadFrame):
        assert decoded.kind in REFUSALS
        assert len(decoded.head) <= 64


@given(
    contents=st.lists(st.binary(max_size=60), max_size=6),
    text=st.text(
        st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="<>&"), max_size=30
    ),
)
def test_what_was_packed_is_what_is_read(contents: list[bytes], text: str) -> None:
    pictures = [b"\xff\xd8" + FRAME + content + b"\xff\xd9" for content in contents]
    xml = f"<a><ANPR><licensePlate>{text}</licensePlate></ANPR></a>".encode()
    boundary = b"q" * 30
    body = b"".join(b"--" + boundary + b"\r\n\r\n" + part + b"\r\n" for part in [xml, *pictures])
    decoded = decode_event(
        f"multipart/form-data; boundary={boundary.decode()}", body + b"--" + boundary + b"--"
    )
    assert isinstance(decoded, Event)
    assert decoded.text == ("" if text.lower() == "unknown" else text)
    assert [picture.jpeg for picture in decoded.pictures] == pictures
