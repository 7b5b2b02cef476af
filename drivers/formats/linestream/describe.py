"""What a scanner says of itself: the JSON of DESCRIBE, read without trust, and how the emulator writes it."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from drivers.formats.linestream.frames import crc32c
from drivers.readings import DeviceIdentity, ScannerGeometry

MAX_DEPTH = 8
METRES_PER_UM = 1e-6
_MAX_UM = 200_000_000
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


class _Model(BaseModel):
    # Keys of later versions are allowed: they stay in the raw bytes, which are kept as evidence.
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True, allow_inf_nan=False)


class _Detector(_Model):
    count: int = Field(ge=1, le=8_192)
    pitch_um: float = Field(gt=0, le=1_000_000)
    layout: Literal["vertical"]
    column_um: tuple[float, float]
    bottom_um: float = Field(ge=-_MAX_UM, le=_MAX_UM)


class _Source(_Model):
    kind: str = Field(max_length=64)
    nuclide: str | None = Field(default=None, max_length=64)
    kv: float | None = Field(default=None, gt=0)
    position_um: tuple[float, float, float]


class _Lane(_Model):
    plane_distance_um: float = Field(gt=0, le=_MAX_UM)


class _Encoder(_Model):
    um_per_tick: float = Field(gt=0, le=1_000_000)
    sign: Literal[1, -1]


class _Sample(_Model):
    quantity: Literal["counts", "charge"]
    full_scale: int = Field(ge=1, le=0xFFFF_FFFF)
    units_per_quantum: float = Field(gt=0)
    read_noise: float = Field(ge=0)


class _Description(_Model):
    format: Literal["linestream"]
    v: Literal[1]
    maker: str = Field(max_length=200)
    model: str = Field(max_length=200)
    serial: str = Field(max_length=200)
    firmware: str = Field(max_length=200)
    detector: _Detector
    source: _Source
    lane: _Lane
    encoder: _Encoder
    sample: _Sample
    reference_detectors: tuple[int, ...] = Field(default=(), max_length=8_192)


def parse(text: bytes) -> tuple[DeviceIdentity, ScannerGeometry]:
    """Read a description.

    Raises ``ValueError`` with one sentence: not UTF-8 or JSON, deeper than 8, NaN or infinity, a key twice,
    a missing or impossible value, or a layout that cannot be used (only ``vertical`` can, so far).
    """
    try:
        strict_json(text)
        said = _Description.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"DESCRIBE: {place} = {first['input']!r:.80}: {first['msg']}") from error
    except ValueError as error:
        raise ValueError(f"DESCRIBE: {error}") from error
    return DeviceIdentity(said.maker, said.model, said.serial, said.firmware), _geometry(said, text)


def _geometry(said: _Description, text: bytes) -> ScannerGeometry:
    detector, source = said.detector, said.source
    references = said.reference_detectors
    if len(set(references)) < len(references) or any(not 0 <= row < detector.count for row in references):
        raise ValueError(
            f"DESCRIBE: reference_detectors: each once and between 0 and {detector.count - 1} expected"
        )
    distance_um = abs(detector.column_um[1] - source.position_um[1])
    if distance_um < said.lane.plane_distance_um:
        raise ValueError(
            f"DESCRIBE: the detectors stand {distance_um / 1e6:g} m from the source, nearer than the lane "
            f"plane at {said.lane.plane_distance_um / 1e6:g} m"
        )
    return ScannerGeometry(
        detectors=detector.count,
        pitch_m=detector.pitch_um * METRES_PER_UM,
        bottom_m=detector.bottom_um * METRES_PER_UM,
        plane_distance_m=said.lane.plane_distance_um * METRES_PER_UM,
        detector_distance_m=distance_um * METRES_PER_UM,
        m_per_tick=said.encoder.sign * said.encoder.um_per_tick * METRES_PER_UM,
        full_scale=said.sample.full_scale,
        quantity=said.sample.quantity,
        units_per_quantum=said.sample.units_per_quantum,
        read_noise=said.sample.read_noise,
        reference_detectors=references,
        source=source.nuclide or (f"{source.kv:g} kV" if source.kv else source.kind),
        raw=text,
        crc=crc32c(text),
    )


def strict_json(text: bytes) -> Any:
    """Read JSON that must be finite, unambiguous and at most 8 deep; ``ValueError`` otherwise."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", text)):  # before a parser may recurse into it
        depth += 1 if bracket in b"[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
    return json.loads(text.decode("utf-8"), parse_constant=_refuse_constant, object_pairs_hook=_refuse_twice)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number that JSON knows")


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise ValueError(f"a key stands twice in {{{', '.join(keys)[:80]}}}")
    return dict(pairs)
