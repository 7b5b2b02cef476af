"""Camera events pushed over HTTP: bytes of a connection to one request, a request to one event.

Profile ``hikvision``: a POST of multipart/form-data with one XML part (its name varies) and JPEGs, which are
known by their first bytes, not by their type. XML names are compared without their namespaces, which vary
with the firmware. [Hikvision ISAPI, EventNotificationAlert; hikvision_next #117; RFC 7578; ITU-T T.81 B.1]
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from xml.etree.ElementTree import Element, ParseError

import h11
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring
from python_multipart.multipart import parse_options_header

from drivers.readings import BadFrame, Picture

MAX_HEAD = 16 * 1024
MAX_BODY = 16 * 1024 * 1024
MAX_PARTS = 16
MAX_XML = 256 * 1024
MAX_PIXELS = 64_000_000
MAX_SEGMENTS = 512
"""Segments of a JPEG before its frame header; colour profiles and previews take a few dozen."""
MAX_TEXT = 64
HEAD_BYTES = 64

REFUSALS = {
    "cut": (400, "The connection ended before the request was complete."),
    "bad_request": (400, "This is no HTTP/1.1 request with a head of at most 16 KiB."),
    "too_slow": (408, "The request was not complete within 10 s."),
    "body_too_large": (413, "The body is larger than 16 MiB."),
    "no_multipart": (415, "Send multipart/form-data with one XML part and JPEG parts, or the XML alone."),
    "bad_multipart": (400, "The parts do not begin and end with the boundary that Content-Type names."),
    "too_many_parts": (413, "There are more than 16 parts."),
    "no_event": (400, "No part holds an EventNotificationAlert with an ANPR element."),
    "bad_xml": (400, "The XML part is no well-formed XML without entities, of at most 256 KiB."),
    "image_too_large": (413, "A JPEG has more than 64 million pixels."),
}
"""What the sender is told about a ``BadFrame`` of each kind: HTTP status and one sentence."""

ROLES = {"licensePlatePicture": "plate", "vehiclePicture": "scene", "detectionPicture": "scene"}


@dataclass(frozen=True, slots=True)
class Request:
    """One complete HTTP request; header names in lower case, header values decoded as Latin-1."""

    method: str
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """What one event says; the fields up to ``pictures`` are those of ``CameraRead``.

    ``camera_utc_s`` is the camera's time if it can be compared with ours. ``more_follows``: the full record
    comes later with the same ``event_id``. ``left_out`` counts pictures without frame header or end.
    """

    text: str
    region: str
    confidence: float | None
    event_id: str
    camera_time: str
    pictures: tuple[Picture, ...]
    camera_utc_s: float | None
    retransmitted: bool
    more_follows: bool
    left_out: int


@dataclass(frozen=True, slots=True)
class OtherEvent:
    """A well-formed alert that is about no plate, such as a heartbeat."""

    event_type: str


# --- HTTP: one request on each connection -------------------------------------------------------


class Receiver:
    """The receiving half of one connection that carries one request."""

    def __init__(self) -> None:
        """Wait for the head."""
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._head = b""
        """The head as far as it has come; whole heads only go to the parser, whatever the segments."""
        self._request: h11.Request | None = None
        self._body = bytearray()

    def feed(self, data: bytes) -> Request | BadFrame | None:
        """Take bytes (``b""``: the sender has ended) and return the request when it is complete.

        After a ``Request`` or ``BadFrame`` nothing more may be fed.
        """
        if not data:
            return self.bad("cut")
        if self._request is None:
            self._head += data
            end = self._head.find(b"\r\n\r\n", 0, MAX_HEAD) + 4
            if end < 4:
                return self.bad("bad_request") if len(self._head) >= MAX_HEAD else None
            self._head, data = self._head[:end], self._head
        self._http.receive_data(data)
        try:
            return self._next()
        except h11.RemoteProtocolError:
            return self.bad("bad_request")

    def _next(self) -> Request | BadFrame | None:
        while True:
            event = self._http.next_event()
            if isinstance(event, h11.Request):
                self._request = event
                if int(dict(event.headers).get(b"content-length", b"0")) > MAX_BODY:
                    return self.bad("body_too_large")
            elif isinstance(event, h11.Data):
                self._body += event.data
                if len(self._body) > MAX_BODY:
                    return self.bad("body_too_large")
            elif isinstance(event, h11.EndOfMessage) and self._request is not None:
                headers = {name.decode(): value.decode("latin-1") for name, value in self._request.headers}
                return Request(self._request.method.decode(), headers, bytes(self._body))
            else:
                return None

    def interim(self) -> bytes:
        """Return what a sender that waits for leave to send its body must be told now."""
        if not self._http.they_are_waiting_for_100_continue:
            return b""
        return (
            self._http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")) or b""
        )

    def bad(self, kind: str) -> BadFrame:
        """Return the request as far as it has come as a bad frame."""
        return BadFrame(kind, 0, self._head[:HEAD_BYTES])


def response(status: int, sentence: str, *headers: str) -> bytes:
    """Return the answer that ends a connection."""
    body = f"{sentence}\n".encode()
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: text/plain; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


# --- one event ------------------------------------------------------------------------------------


class _Refused(Exception):
    """Carries the kind of a bad frame out of the functions below; never leaves this file."""


def decode_event(content_type: str, body: bytes) -> Event | OtherEvent | BadFrame:
    """Return the event in the body of one request.

    A picture without frame header or end is left out and counted, since the text is evidence all the
    same. An event without UUID is named by the SHA-256 of its body.
    """
    try:
        parts = _parts(content_type, body)
        pictures = [(name, data) for name, data in parts if data.startswith(b"\xff\xd8")]
        texts = [data for _, data in parts if data.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"<")]
        if not texts:
            raise _Refused("no_event")
        alert = _parse(texts[0])
        anpr = _child(alert, "ANPR")
        event_type = _text(alert, "eventType")
        if event_type.upper() not in ("", "ANPR"):
            return OtherEvent(event_type)
        if anpr is None:
            raise _Refused("no_event")
        whole = [(name, jpeg) for name, jpeg in pictures if _is_whole(jpeg)]
    except _Refused as refused:
        return BadFrame(str(refused), 0, body[:HEAD_BYTES])
    roles = _roles(anpr)
    text = _text(anpr, "licensePlate")
    camera_time = _text(alert, "dateTime")
    return Event(
        text="" if text.lower() == "unknown" else text,
        region=_text(anpr, "country"),
        confidence=_confidence(_text(anpr, "confidenceLevel")),
        event_id=_text(alert, "UUID") or hashlib.sha256(body).hexdigest(),
        camera_time=camera_time,
        pictures=tuple(Picture(roles.get(name) or _role(name), jpeg) for name, jpeg in whole),
        camera_utc_s=_utc_s(camera_time),
        retransmitted=_text(alert, "isDataRetransmission").lower() == "true",
        more_follows=_text(anpr, "hasMoreData").lower() == "true",
        left_out=len(pictures) - len(whole),
    )


def _parts(content_type: str, body: bytes) -> list[tuple[str, bytes]]:
    """Return file name (or field name) and content of each part."""
    kind, options = parse_options_header(content_type)
    if kind in (b"application/xml", b"text/xml"):
        return [("", body)]
    if not kind.startswith(b"multipart/"):
        raise _Refused("no_multipart")
    boundary = options.get(b"boundary", b"")
    pieces = (b"\r\n" + body).split(b"\r\n--" + boundary, MAX_PARTS + 2)
    if len(pieces) > MAX_PARTS + 2:
        raise _Refused("too_many_parts")
    if not boundary or len(pieces) < 2 or not pieces.pop().startswith(b"--"):
        raise _Refused("bad_multipart")
    parts = []
    for piece in pieces[1:]:
        head, _, content = piece.lstrip(b" \t").partition(b"\r\n\r\n")
        if not head.startswith(b"\r\n") and head:
            raise _Refused("bad_multipart")
        parts.append((_name(head), content))
    return parts


def _name(head: bytes) -> str:
    for line in head.split(b"\r\n"):
        field, _, value = line.partition(b":")
        if field.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value.strip())
            return (options.get(b"filename") or options.get(b"name") or b"").decode("latin-1")
    return ""


def _parse(text: bytes) -> Element:
    if len(text) > MAX_XML:
        raise _Refused("bad_xml")
    try:
        alert: Element = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError) as error:
        raise _Refused("bad_xml") from error
    return alert


def _child(element: Element, name: str) -> Element | None:
    """Return the first child of that local name."""
    return next((child for child in element if child.tag.rpartition("}")[2] == name), None)


def _text(element: Element, name: str) -> str:
    """Return the text of a child on one line and of bounded length, or nothing."""
    child = _child(element, name)
    text = "" if child is None or child.text is None else child.text
    return " ".join(text[: 4 * MAX_TEXT].split())[:MAX_TEXT]


def _roles(anpr: Element) -> dict[str, str]:
    """Return which file is which picture, as far as the event says so."""
    listed = _child(anpr, "pictureInfoList")
    infos = [] if listed is None else list(listed)
    return {_text(info, "fileName"): ROLES.get(_text(info, "type"), "") for info in infos}


def _role(name: str) -> str:
    return "plate" if "plate" in name.lower() else "scene"


def _confidence(level: str) -> float | None:
    try:
        percent = float(level)
    except ValueError:
        return None
    return percent / 100 if 0 <= percent <= 100 else None


def _utc_s(camera_time: str) -> float | None:
    """Return POSIX seconds, or ``None`` for a time without zone, which fits no other clock."""
    try:
        time = datetime.fromisoformat(camera_time)
    except ValueError:
        return None
    return time.timestamp() if time.tzinfo else None


def _is_whole(jpeg: bytes) -> bool:
    """Whether a JPEG has its frame header and an end behind it; refuses one of too many pixels.

    Nothing is decoded. Before the frame header stand segments of known length, one of which may hold
    a smaller JPEG; behind it an end-of-image marker cannot be part of the coded data.
    """
    at = 2
    for _ in range(MAX_SEGMENTS):
        if jpeg[at : at + 1] != b"\xff" or at + 9 > len(jpeg):
            return False
        marker = jpeg[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (int.from_bytes(jpeg[at + o : at + o + 2]) for o in (5, 7))
            if height * width > MAX_PIXELS:
                raise _Refused("image_too_large")
            return height * width > 0 and jpeg.rfind(b"\xff\xd9") > at
        else:
            at += 2 + int.from_bytes(jpeg[at + 2 : at + 4])
    return False
