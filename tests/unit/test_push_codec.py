"""Camera events as bytes: what is an event, what is none, and what the sender is told."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from drivers.camera.push.codec import (
    MAX_BODY,
    REFUSALS,
    Event,
    OtherEvent,
    Receiver,
    Request,
    decode_event,
    response,
)
from drivers.readings import BadFrame, Picture

# The smallest bytes with a frame header and an end: 16 × 8 pixels.
FRAME = bytes.fromhex("ffc0 0011 08 0008 0010 03 012200 021101 031101")
SCENE = b"\xff\xd8" + FRAME + b"scene\xff\xd9"
PLATE = b"\xff\xd8" + FRAME + b"plate\xff\xd9"

ALERT = """<?xml version="1.0" encoding="utf-8"?>
<EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">
<ipAddress>192.0.2.7</ipAddress><channelID>1</channelID>
<dateTime>2026-03-01T09:30:00.250-06:00</dateTime><activePostCount>1</activePostCount>
<eventType>ANPR</eventType><eventState>active</eventState>
<UUID>3f8a6d1e-0000-4000-8000-00000000abcd</UUID><picNum>2</picNum>
<ANPR><country>US-TX</country><licensePlate> R4K  7719 </licensePlate><confidenceLevel>93</confidenceLevel>
<direction>forward</direction><originalLicensePlate>R4K7719</originalLicensePlate>
<pictureInfoList>
<pictureInfo><fileName>detectionPicture.jpg</fileName><type>detectionPicture</type></pictureInfo>
<pictureInfo><fileName>A.jpg</fileName><type>licensePlatePicture</type></pictureInfo>
</pictureInfoList></ANPR>
</EventNotificationAlert>
"""
MINIMAL = "<EventNotificationAlert><ANPR><licensePlate>AB1</licensePlate></ANPR></EventNotificationAlert>"
FORM = "multipart/form-data; boundary=x"


def part(name: str, content: bytes, *, field: str = "filename") -> bytes:
    return f'--x\r\nContent-Disposition: form-data; {field}="{name}"\r\n\r\n'.encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x--\r\n"


def event(body: bytes, content_type: str = FORM) -> Event:
    decoded = decode_event(content_type, body)
    assert isinstance(decoded, Event), decoded
    return decoded


def refusal(body: bytes, content_type: str = FORM) -> str:
    decoded = decode_event(content_type, body)
    assert isinstance(decoded, BadFrame), decoded
    assert decoded.head == body[:64]
    assert decoded.kind in REFUSALS
    return decoded.kind


def with_alert(pattern: str, replacement: str) -> bytes:
    changed = re.sub(pattern, replacement, ALERT)
    assert changed != ALERT
    return form(part("anpr.xml", changed.encode()))


# --- one event ------------------------------------------------------------------------------------


def test_an_event_with_two_pictures() -> None:
    body = form(part("anpr.xml", ALERT.encode()), part("A.jpg", PLATE), part("detectionPicture.jpg", SCENE))
    assert event(body) == Event(
        text="R4K 7719",
        region="US-TX",
        confidence=0.93,
        event_id="3f8a6d1e-0000-4000-8000-00000000abcd",
        camera_time="2026-03-01T09:30:00.250-06:00",
        pictures=(Picture("plate", PLATE), Picture("scene", SCENE)),
        camera_utc_s=datetime(2026, 3, 1, 15, 30, 0, 250_000, UTC).timestamp(),
        retransmitted=False,
        more_follows=False,
        left_out=0,
    )


@pytest.mark.parametrize("name", ["anpr.xml", "MoveDetection.xml", "", "event"])
def test_the_name_of_the_xml_part_does_not_matter(name: str) -> None:
    assert event(form(part(name, ALERT.encode()))).text == "R4K 7719"


@pytest.mark.parametrize(
    "namespace",
    ["", 'xmlns="http://www.isapi.org/ver20/XMLSchema"', 'xmlns="urn:anything"'],
)
def test_the_namespace_does_not_matter(namespace: str) -> None:
    assert event(with_alert('xmlns="[^"]*"', namespace)).text == "R4K 7719"


def test_prefixed_names_are_the_same_names() -> None:
    xml = '<h:A xmlns:h="urn:h"><h:ANPR><h:licensePlate>AB1</h:licensePlate></h:ANPR></h:A>'
    assert event(form(part("a", xml.encode()))).text == "AB1"


@pytest.mark.parametrize("content_type", ["application/xml", 'text/xml; charset="UTF-8"', "Application/XML"])
def test_the_xml_may_come_alone(content_type: str) -> None:
    assert event(MINIMAL.encode(), content_type).text == "AB1"


def test_what_is_missing_is_unknown() -> None:
    read = event(form(part("a.xml", MINIMAL.encode())))
    assert (read.region, read.confidence, read.camera_time, read.camera_utc_s) == ("", None, "", None)
    assert (read.retransmitted, read.more_follows, read.pictures) == (False, False, ())


def test_an_event_without_uuid_is_named_by_its_body() -> None:
    one, same, other = (
        event(form(part("a.xml", MINIMAL.encode()), part("p.jpg", picture)))
        for picture in (SCENE, SCENE, PLATE)
    )
    assert one.event_id == same.event_id != other.event_id
    assert len(one.event_id) == 64


@pytest.mark.parametrize("text", ["", "unknown", "UNKNOWN", "  "])
def test_an_unread_plate_is_no_text(text: str) -> None:
    assert event(with_alert(" R4K  7719 ", text)).text == ""


def test_an_absent_plate_is_no_text() -> None:
    assert event(with_alert("<licensePlate>.*</licensePlate>", "")).text == ""


@pytest.mark.parametrize(
    ("level", "confidence"),
    [
        ("0", 0),
        ("100", 1),
        ("55.5", 0.555),
        ("101", None),
        ("-1", None),
        ("nan", None),
        ("", None),
        ("x", None),
    ],
)
def test_confidence_is_a_share_or_unknown(level: str, confidence: float | None) -> None:
    assert event(with_alert(">93<", f">{level}<")).confidence == confidence


@pytest.mark.parametrize(
    ("text", "utc_s"),
    [
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("2026-03-01T09:30:00", None),  # no zone: fits no other clock
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", -62135647200.0),
    ],
)
def test_camera_time_is_compared_only_where_it_can_be(text: str, utc_s: float | None) -> None:
    read = event(with_alert("2026-03-01T09:30:00.250-06:00", text))
    assert (read.camera_time, read.camera_utc_s) == (text, utc_s)


def test_a_retransmission_and_a_preliminary_event_say_so() -> None:
    read = event(with_alert("<UUID>", "<isDataRetransmission>True</isDataRetransmission><UUID>"))
    assert read.retransmitted
    assert event(with_alert("<country>", "<hasMoreData>true</hasMoreData><country>")).more_follows


def test_an_alert_about_something_else_is_no_bad_frame() -> None:
    assert decode_event(FORM, with_alert(">ANPR<", ">videoloss<")) == OtherEvent("videoloss")


def test_long_texts_are_cut() -> None:
    assert event(with_alert(" R4K  7719 ", "A" * 10_000)).text == "A" * 64


# --- pictures -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("detectionPicture.jpg", "scene"),
        ("A.jpg", "plate"),
        ("licensePlatePicture.jpg", "plate"),
        ("PLATE_1", "plate"),
        ("photo", "scene"),
    ],
)
def test_a_picture_is_what_the_event_or_its_name_says(name: str, role: str) -> None:
    body = form(part("anpr.xml", ALERT.encode()), part(name, SCENE))
    assert event(body).pictures == (Picture(role, SCENE),)


def test_pictures_are_known_by_their_first_bytes_and_empty_parts_are_skipped() -> None:
    body = form(
        part("photo.jpg", b""),
        part("notes.txt", b"dry, sunny"),
        part("wrong.png", SCENE),
        part("a", MINIMAL.encode()),
        b"--x\r\n\r\n" + PLATE + b"\r\n",
        b"--x \t\r\nContent-Type: image/jpeg\r\n\r\n" + SCENE + b"\r\n",
    )
    assert [picture.jpeg for picture in event(body).pictures] == [SCENE, PLATE, SCENE]


def test_a_picture_may_hold_what_looks_like_a_line_or_a_boundary() -> None:
    tricky = b"\xff\xd8" + FRAME + b"\r\n--y\r\n\r\n--\r\n\xff\xd9"
    assert event(form(part("a", MINIMAL.encode()), part("p", tricky))).pictures[0].jpeg == tricky


def test_a_preview_inside_a_picture_is_not_its_end() -> None:
    exif = b"\xff\xe1" + (2 + len(SCENE)).to_bytes(2) + SCENE
    whole = b"\xff\xd8" + exif + b"\xff" + FRAME + b"coded\xff\xd9"
    half = whole[:-6]
    read = event(form(part("a", MINIMAL.encode()), part("p", whole), part("q", half)))
    assert [picture.jpeg for picture in read.pictures] == [whole]
    assert read.left_out == 1


@pytest.mark.parametrize(
    "broken",
    [
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"\xff\xd8" + b"\xff\xfe\x00\x02" * 600 + FRAME + b"\xff\xd9",
        b"\xff\xd8" + b"junk" * 20 + b"\xff\xd9",
        b"\xff\xd8" + FRAME.replace(b"\x08\x00\x08", b"\x08\x00\x00") + b"\xff\xd9",
        SCENE[:-2],
    ],
)
def test_a_damaged_picture_is_left_out_and_counted_but_the_text_is_kept(broken: bytes) -> None:
    read = event(form(part("a", MINIMAL.encode()), part("p", broken), part("q", SCENE)))
    assert (read.text, read.left_out) == ("AB1", 1)
    assert [picture.jpeg for picture in read.pictures] == [SCENE]


def test_a_picture_of_too_many_pixels_refuses_the_event() -> None:
    large = SCENE.replace(bytes.fromhex("0008 0010"), bytes.fromhex("2000 2000"))
    assert refusal(form(part("a", MINIMAL.encode()), part("p", large))) == "image_too_large"


# --- no event -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "body", "kind"),
    [
        ("", b"x", "no_multipart"),
        ("application/json", b"{}", "no_multipart"),
        ("multipart/form-data", form(part("a", MINIMAL.encode())), "bad_multipart"),
        ("multipart/form-data; boundary=y", form(part("a", MINIMAL.encode())), "bad_multipart"),
        (FORM, b"", "bad_multipart"),
        (FORM, form(part("a", MINIMAL.encode()))[:-6], "bad_multipart"),
        (FORM, b"--xy\r\n\r\n<a/>\r\n--x--", "bad_multipart"),
        (FORM, form(*[part("p", SCENE)] * 17), "too_many_parts"),
        (FORM, form(), "no_event"),
        (FORM, form(part("p.jpg", SCENE)), "no_event"),
        (FORM, form(part("a", b"<EventNotificationAlert/>")), "no_event"),
        (FORM, with_alert("(?s)<ANPR>.*</ANPR>", ""), "no_event"),
        (FORM, form(part("a", b"<unfinished")), "bad_xml"),
        (FORM, form(part("a", b"<a>" + b" " * 300_000 + b"</a>")), "bad_xml"),
        (FORM, form(part("a", b'<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>')), "bad_xml"),
        (FORM, form(part("a", b'<?xml version="1.0" encoding="nonsense"?><a/>')), "bad_xml"),
        (FORM, form(part("a", b'<?xml version="1.0" encoding="gb2312"?><a/>')), "bad_xml"),
    ],
)
def test_what_is_no_event_is_refused_by_kind(content_type: str, body: bytes, kind: str) -> None:
    assert refusal(body, content_type) == kind


def test_sixteen_parts_are_allowed() -> None:
    assert len(event(form(part("a", MINIMAL.encode()), *[part("p", SCENE)] * 15)).pictures) == 15


# --- the request around it ------------------------------------------------------------------------


def post(body: bytes, *headers: str, length: int | None = None) -> bytes:
    size = len(body) if length is None else length
    head = [
        "POST /any/path HTTP/1.1",
        "Host: lane",
        f"Content-Type: {FORM}",
        f"Content-Length: {size}",
        *headers,
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


def received(*segments: bytes) -> Request | BadFrame | None:
    receiver = Receiver()
    for segment in segments:
        outcome = receiver.feed(segment)
        if outcome is not None:
            return outcome
    return None


def test_a_request_comes_whole_in_any_segments() -> None:
    body = form(part("a", MINIMAL.encode()))
    wire = post(body, "X-Camera: 7")
    whole = received(wire)
    assert isinstance(whole, Request)
    assert (whole.method, whole.body, whole.headers["x-camera"]) == ("POST", body, "7")
    assert received(*[wire[i : i + 1] for i in range(len(wire))]) == whole


def test_a_chunked_body_is_joined() -> None:
    head = b"POST / HTTP/1.1\r\nHost: lane\r\nTransfer-Encoding: chunked\r\n\r\n"
    request = received(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert isinstance(request, Request)
    assert request.body == b"abcde"


def test_a_sender_that_asks_for_leave_gets_it_once() -> None:
    receiver = Receiver()
    assert receiver.interim() == b""
    assert receiver.feed(post(b"", "Expect: 100-continue", length=3)) is None
    assert receiver.interim() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert receiver.interim() == b""
    assert isinstance(receiver.feed(b"abc"), Request)


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        ([b""], "cut"),
        ([b"POST / HT", b""], "cut"),
        ([post(b"abc")[:-1], b""], "cut"),
        ([b"\x16\x03\x01junk\r\n\r\n"], "bad_request"),
        ([b"POST / HTTP/1.1\r\n\r\n"], "bad_request"),  # no Host
        ([b"A" * 16_384], "bad_request"),
        ([post(b"", "Content-Length: x")], "bad_request"),
        ([post(b"", length=10**18)], "body_too_large"),
        ([post(b"", length=MAX_BODY + 1)], "body_too_large"),
    ],
)
def test_what_is_no_request_is_a_bad_frame(wire: list[bytes], kind: str) -> None:
    frame = received(*wire)
    assert isinstance(frame, BadFrame)
    assert frame.kind == kind
    assert frame.kind in REFUSALS
    assert b"".join(wire).startswith(frame.head)


def test_a_chunked_body_cannot_grow_without_a_bound() -> None:
    receiver = Receiver()
    assert receiver.feed(b"POST / HTTP/1.1\r\nHost: lane\r\nTransfer-Encoding: chunked\r\n\r\n") is None
    chunk = b"100000\r\n" + bytes(0x100000) + b"\r\n"
    outcomes = [receiver.feed(chunk) for _ in range(17)]
    assert outcomes[:16] == [None] * 16
    assert outcomes[16] == BadFrame(
        "body_too_large", 0, b"POST / HTTP/1.1\r\nHost: lane\r\nTransfer-Encoding: chunked\r\n\r\n"[:64]
    )


def test_an_answer_is_one_sentence_and_ends_the_connection() -> None:
    assert response(413, "Too large.", "X-Header: 1") == (
        b"HTTP/1.1 413 Request Entity Too Large\r\nContent-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 11\r\nConnection: close\r\nX-Header: 1\r\n\r\nToo large.\n"
    )
    for status, sentence in REFUSALS.values():
        assert response(status, sentence).startswith(b"HTTP/1.1 4")
