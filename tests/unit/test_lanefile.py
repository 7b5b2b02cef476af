"""A lane file is right as a whole, or each sentence says where it is wrong and what is allowed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, cast

import pytest
from pydantic import Field, SecretStr

from drivers.api import DigitalIo, Driver, DriverContext, DriverSpec, Options, Role
from drivers.geometry import LaneGeometry
from drivers.io.modbus.codec import COILS, INPUTS
from station import plugins
from station.lane.outputs import Outputs
from station.lane.sequencer import Sequencer
from station.lanefile import (
    LaneFile,
    LaneFileError,
    UnknownName,
    config_folder,
    load_lane,
    schema_text,
    shipped,
)
from station.lanefile.fit import NEEDED
from station.runtime.clock import SystemClock
from tests.support.lane_rig import Rig

# --- four drivers that nobody sells ---------------------------------------------------------------


class NetOptions(Options):
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65_535)] = 1
    unit_id: int = 1
    panels: Annotated[tuple[str, ...], Field(min_length=1)] = ("A",)
    password: Annotated[SecretStr, Field(max_length=16)] = SecretStr("")


class SerialOptions(Options):
    host: str = "127.0.0.1"
    port: int = 1
    serial_port: str = ""


def never(options: Any, context: DriverContext) -> Driver:
    raise AssertionError("a check makes no driver")


SPECS = {
    spec.name: spec
    for spec in (
        DriverSpec("portal_a", Role.PORTAL_MONITOR, NetOptions, never, "x:X"),
        DriverSpec("plates_serial", Role.CAMERA, SerialOptions, never, "x:X"),
        DriverSpec("lines", Role.LINE_SCANNER, NetOptions, never, "x:X"),
        DriverSpec("plates", Role.CAMERA, NetOptions, never, "x:X"),
        DriverSpec("board", Role.DIGITAL_IO, NetOptions, never, "x:X"),
        DriverSpec("text", Role.TEXT_READER, NetOptions, never, "x:X"),
    )
}


def find(name: str) -> DriverSpec:
    if name == "broken":
        raise plugins.BadPlugin("its package cannot be imported (broken:SPEC: no module); reinstall it")
    if name not in SPECS:
        raise UnknownName(f"no driver of this name is installed; there are {', '.join(SPECS)}", name, SPECS)
    return SPECS[name]


LANE = """
[lane]
id = "LAR-01"
direction = "in"
time_zone = "America/Chicago"
officer = "DEMO-1"
required = ["rpm", "scanner", "lpr"]
[[consumer]]
name = "central"
[geometry]
entry_loop_m = -2
portal_beams_m = [3.5, 4.5]
portal_m = 4.0
lpr_m = 5.0
scan_plane_m = 8.0
booth_loop_m = 19.0
stop_line_m = 21.0
barrier_m = 22.0
exit_loop_m = 24.0
[[device]]
name = "rpm1"
driver = "portal_a"
mode = "emulated"
[device.options]
panels = ["ML", "MU"]
[[device]]
name = "scanner1"
driver = "lines"
mode = "emulated"
[[device]]
name = "lpr1"
driver = "plates"
mode = "emulated"
[[device]]
name = "io1"
driver = "board"
mode = "emulated"
"""

Write = Callable[[str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(text: str) -> Path:
        path = tmp_path / "lane.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return _write


def sentences(path: Path) -> list[str]:
    """Every problem of a lane file."""
    with pytest.raises(LaneFileError) as caught:
        load_lane(path, find)
    assert str(caught.value) == "\n".join(f"{path}: {problem}" for problem in caught.value.problems)
    return [str(problem) for problem in caught.value.problems]


def changed(*changes: tuple[str, str]) -> str:
    text = LANE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text


# --- a right one ----------------------------------------------------------------------------------


def test_a_right_lane_file_is_read_whole(write: Write) -> None:
    lane = load_lane(write(LANE), find)
    assert lane.lane.id == "LAR-01"
    assert lane.lane.required == ("rpm", "scanner", "lpr")
    assert lane.consumers[0].required
    assert isinstance(lane.geometry, LaneGeometry)
    assert (lane.geometry.entry_loop_m, lane.geometry.loop_length_m) == (-2.0, 2.0)
    assert (lane.simulation.scenario, lane.simulation.seed, lane.simulation.rate) == ("demo", 1, 1.0)
    assert lane.radiation.p_occ == 1e-4
    assert lane.ui.panel_diagonal_in == 12.1
    assert [(device.name, device.role) for device in lane.devices] == [
        ("rpm1", Role.PORTAL_MONITOR),
        ("scanner1", Role.LINE_SCANNER),
        ("lpr1", Role.CAMERA),
        ("io1", Role.DIGITAL_IO),
    ]
    assert lane.devices[0].options == NetOptions(panels=("ML", "MU"))
    assert lane.simulated
    assert lane.warnings == ()


def test_the_hash_is_that_of_the_bytes_of_the_file(write: Write) -> None:
    path = write(LANE)
    lane = load_lane(path, find)
    assert lane.content == path.read_bytes()
    assert lane.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


# --- one thing wrong: place, value, what is allowed, nearest name ---------------------------------

GEOMETRY_KEYS = (
    "entry_loop_m, portal_m, portal_beams_m, lpr_m, scan_plane_m, booth_loop_m, stop_line_m, barrier_m, "
    "exit_loop_m, loop_length_m"
)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('"in"', '"inn"', "lane.direction = \"inn\": must be 'in' or 'out'; did you mean 'in'?"),
        ('id = "LAR-01"\n', "", "lane.id: is missing; it is required"),
        (
            '"LAR-01"',
            '"lane 1"',
            "lane.id = \"lane 1\": must be 1 to 32 of A–Z, a–z, 0–9, '.', '_' and '-', "
            "beginning with a letter or digit",
        ),
        (
            '"America/Chicago"',
            '"america/chicgo"',
            'lane.time_zone = "america/chicgo": must be a time zone of the IANA database; '
            "did you mean 'America/Chicago'?",
        ),
        (
            '"scanner", "lpr"]',
            '"scaner"]',
            "lane.required[2] = \"scaner\": must be 'rpm', 'scanner', 'lpr', 'ocr' or 'manifest'; "
            "did you mean 'scanner'?",
        ),
        ('["rpm", "scanner", "lpr"]', "[]", "lane.required = []: must have at least 1"),
        (
            'officer = "DEMO-1"',
            'officer = "DEMO-1"\noficer = "x"',
            "lane.oficer: unknown key; allowed are id, name, site, direction, time_zone, officer, required, "
            "modulation, port_salt; did you mean 'officer'?",
        ),
        ("lpr_m = 5.0", "lpr_m = true", "geometry.lpr_m = true: must be a valid number"),
        ("lpr_m = 5.0", 'lpr_m = "5"', 'geometry.lpr_m = "5": must be a valid number'),
        ("lpr_m = 5.0", "lpr_m = nan", "geometry.lpr_m = NaN: must be a finite number"),
        (
            "lpr_m = 5.0",
            "lpr_m = 5.0\nlrp_m = 5",
            f"geometry.lrp_m: unknown key; allowed are {GEOMETRY_KEYS}; did you mean 'lpr_m'?",
        ),
        (
            "barrier_m = 22.0",
            "barrier_m = 30.0",
            "geometry: barrier_m = 30.0 m lies behind exit_loop_m = 24.0 m: "
            "places grow in the direction of travel",
        ),
        (
            "exit_loop_m = 24.0",
            "exit_loop_m = 2400.0",
            "geometry: from entry_loop_m = -2.0 m to exit_loop_m = 2400.0 m are more than 1000 m: "
            "give places in metres",
        ),
        (
            "stop_line_m = 21.0",
            "stop_line_m = 19.0",
            "geometry: stop_line_m = 19.0 m is where the booth loop begins: the nose must stop behind",
        ),
        (
            "[3.5, 4.5]",
            "[3.5, 45]",
            "geometry: portal_beams_m = [3.5, 45.0]: each beam must stand within 5 m of portal_m = 4.0 m",
        ),
        (
            "lpr_m = 5.0",
            "lpr_m = 500",
            "geometry: lpr_m = 500.0 m: the camera must be triggered between entry_loop_m = -2.0 m and "
            "stop_line_m = 21.0 m",
        ),
        (
            "exit_loop_m = 24.0",
            "exit_loop_m = 24.0\nloop_length_m = 5.5",
            "geometry: loop_length_m = 5.5: two loops begin only 5 m apart; loops that overlap cannot",
        ),
        (
            "exit_loop_m = 24.0",
            "exit_loop_m = 24.0\nloop_length_m = 0",
            "geometry: loop_length_m = 0.0: a loop has a length above 0 m",
        ),
        # What is wrong with the one entry of a list is not also said to be a list without entries.
        (
            '"central"',
            '"Central 1"',
            "consumer.Central 1.name = \"Central 1\": must be 1 to 32 of a–z, 0–9, '_' and '-', beginning",
        ),
        ('"portal_a"', '"portl_a"', 'device.rpm1.driver = "portl_a": no driver of this name is installed'),
        ('"portal_a"', '"portl_a"', "did you mean 'portal_a'?"),
        (
            '"portal_a"',
            '"broken"',
            'device.rpm1.driver = "broken": its package cannot be imported (broken:SPEC: no module); '
            "reinstall it",
        ),
        (
            'panels = ["ML", "MU"]',
            'panel = ["ML"]',
            "device.rpm1.options.panel: unknown key; allowed are host, port, unit_id, panels, password; "
            "did you mean 'panels'?",
        ),
        (
            'panels = ["ML", "MU"]',
            "unit_id = true",
            "device.rpm1.options.unit_id = true: must be a valid integer",
        ),
        (
            'mode = "emulated"\n[device.options]',
            'mode = "emulatd"\n[device.options]',
            "device.rpm1.mode = \"emulatd\": must be 'real' or 'emulated'; did you mean 'emulated'?",
        ),
        (
            'mode = "emulated"\n[device.options]',
            'mode = "replay:passage.cap"\n[device.options]',
            'device.rpm1.mode = "replay:passage.cap": this version cannot replay a recording; '
            "use 'real' or 'emulated'",
        ),
        (
            'name = "rpm1"',
            'name = "RPM 1"',
            "device.RPM 1.name = \"RPM 1\": must be 1 to 32 of a–z, 0–9, '_' and '-', "
            "beginning with a letter",
        ),
        ('name = "rpm1"\n', "", "device[1].name: is missing; it is required"),
        (
            'name = "rpm1"',
            'name = "rpm1"\nstale_after_s = 0',
            "device.rpm1.stale_after_s = 0: must be greater than 0",
        ),
        ('name = "lpr1"', 'name = "rpm1"', 'device = "rpm1": stands 2 times; each name may stand once'),
        (
            'name = "central"',
            'name = "central"\n[[consumer]]\nname = "central"',
            'consumer = "central": stands 2 times; each name may stand once',
        ),
        (
            'name = "central"',
            'name = "central"\nrequired = false',
            "consumer: at least one consumer must be required: else records may go before anybody has them",
        ),
        ('[[consumer]]\nname = "central"\n', "", "consumer: is missing; it is required"),
        (
            '["rpm", "scanner", "lpr"]',
            '["rpm", "rpm"]',
            'lane.required = "rpm": stands 2 times; each name may stand once',
        ),
        (
            '"lpr"]',
            '"lpr", "manifest"]',
            'lane.required = "manifest": nobody sends manifests: add an [[issuer]] with '
            'kinds = ["manifest"], or leave it out',
        ),
        (
            "[lane]\n",
            "[lane]\nmodulation = true\n",
            "lane.modulation = true: nobody sends the vote that Release waits for: add an [[issuer]] with "
            'kinds = ["release"]',
        ),
        (
            '"plates"',
            '"text"',
            'lane.required = "lpr": needs a device that is a Camera; add one or leave it out',
        ),
        (
            "[geometry]",
            '[simulation]\nscenario = "dmo"\n[geometry]',
            'simulation.scenario = "dmo": nothing of this name is shipped; there are demo, ',
        ),
        ("[geometry]", '[simulation]\nscenario = "dmo"\n[geometry]', "did you mean 'demo'?"),
        (
            "[geometry]",
            "[radiation]\np_occ = 2\n[geometry]",
            "radiation.p_occ = 2: must be less than or equal to 0.1",
        ),
        (
            "[geometry]",
            "[ui]\npanel_diagonal_in = 7\n[geometry]",
            "ui.panel_diagonal_in = 7: must be greater",
        ),
        (
            "[geometry]",
            "[radiaton]\n[geometry]",
            "radiaton: unknown key; allowed are lane, consumer, issuer, geometry, simulation, device, "
            "radiation, ui; did you mean 'radiation'?",
        ),
    ],
)
def test_one_thing_wrong_is_one_sentence(write: Write, old: str, new: str, sentence: str) -> None:
    (said,) = sentences(write(changed((old, new))))
    assert sentence in said


def test_everything_that_is_wrong_is_said_at_once(write: Write) -> None:
    said = sentences(
        write(changed(('"in"', '"inn"'), ("lpr_m = 5.0", "lpr_m = []"), ('"portal_a"', '"x"'), ('"MU"', "3")))
    )
    assert [sentence.split(" = ")[0] for sentence in said] == [
        "lane.direction",
        "geometry.lpr_m",
        "device.rpm1.driver",
    ]


def test_everything_that_is_wrong_with_the_geometry_is_said_at_once(write: Write) -> None:
    said = sentences(write(changed(("lpr_m = 5.0", "lpr_m = -9"), ("[3.5, 4.5]", "[80, 90]"))))
    assert [sentence.split(" = ")[0] for sentence in said] == [
        "geometry: lpr_m",
        "geometry: portal_beams_m",
    ]


def test_places_out_of_order_are_not_said_to_be_too_far_from_others_too(write: Write) -> None:
    (said,) = sentences(write(changed(("portal_m = 4.0", "portal_m = 40"))))
    assert said.startswith("geometry: portal_m = 40.0 m lies behind scan_plane_m = 8.0 m")


@pytest.mark.parametrize(
    ("zone", "meant"),
    [
        ("Chicago", "America/Chicago"),
        ("Europe/Chicago", "America/Chicago"),
        ("America/New York", "America/New_York"),
        ("utc", "UTC"),
        ("America/Laredo", None),
        ("America/Texas", None),
        ("CST", None),
        ("GMT+1", None),
        ("", None),
    ],
)
def test_a_time_zone_is_proposed_only_for_a_name_like_its_own(
    write: Write, zone: str, meant: str | None
) -> None:
    """Not for one on the same continent, with as many letters, or of another sign."""
    with pytest.raises(LaneFileError) as caught:
        load_lane(write(changed(("America/Chicago", zone))), find)
    (problem,) = caught.value.problems
    assert (problem.place, problem.nearest) == ("lane.time_zone", meant)


def test_no_time_zones_on_this_computer(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zoneinfo.available_timezones", set)
    (said,) = sentences(write(changed(('"America/Chicago"', '"Mars/Olympus"'))))
    assert said.endswith("this computer has no time zones: install the package tzdata")


# --- the file as a whole --------------------------------------------------------------------------


def test_a_missing_file_names_its_neighbour(write: Write) -> None:
    path = write(LANE).with_name("lan.toml")
    assert sentences(path) == [
        "cannot be read (no such file or directory); give the path of a lane file; did you mean 'lane.toml'?"
    ]


@pytest.mark.parametrize("beside", ["[project]\n", None])
def test_what_is_no_lane_file_is_not_proposed_for_one(tmp_path: Path, beside: str | None) -> None:
    if beside is None:
        (tmp_path / "pylane.toml").mkdir()
    else:
        (tmp_path / "pylane.toml").write_text(beside)
    assert sentences(tmp_path / "mylane.toml") == [
        "cannot be read (no such file or directory); give the path of a lane file"
    ]


def test_a_file_with_a_byte_order_mark_is_read(write: Write) -> None:
    """Some editors put one first, and nobody can see it."""
    path = write("\ufeff" + LANE)
    lane = load_lane(path, find)
    assert lane.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    path.write_bytes("\ufeff\n".encode() + b"\xff")
    assert sentences(path) == ["is not UTF-8 text from line 2 on; save it as UTF-8"]


def test_a_folder_is_no_lane_file(tmp_path: Path) -> None:
    assert sentences(tmp_path) == ["cannot be read (is a directory); give the path of a lane file"]


def test_a_syntax_error_says_its_line(write: Write) -> None:
    (said,) = sentences(write('[lane]\nid = "LAR-01\n'))
    assert said.startswith("is not TOML: ")
    assert "line 2" in said


def test_text_that_is_not_utf_8_says_its_line(write: Write) -> None:
    path = write(LANE)
    path.write_bytes(LANE.encode() + b"# \xff\n[ui]\n")
    assert sentences(path) == [f"is not UTF-8 text from line {LANE.count(chr(10)) + 1} on; save it as UTF-8"]


def test_a_huge_file_is_not_even_parsed(write: Write) -> None:
    assert sentences(write(LANE + "#" * (1 << 20))) == [
        "is larger than 1,048,576 bytes; a lane file has a few thousand"
    ]


@pytest.mark.parametrize("text", ["", "lane = 1", "device = 1", "device = [1]", "[[device]]\noptions = 1"])
def test_any_toml_at_all_is_answered_in_sentences(write: Write, text: str) -> None:
    assert "lane" in " ".join(sentences(write(text)))


def test_deep_nesting_is_answered_in_a_sentence(write: Write) -> None:
    (said,) = sentences(write("x = " + "[" * 20_000 + "]" * 20_000))
    assert said.startswith("is not TOML")


# --- real and emulated ----------------------------------------------------------------------------


def real(text: str, device: str, options: str) -> str:
    """Make one device of the lane real, with these options."""
    before, name, after = text.partition(f'name = "{device}"\n')
    after = after.replace('mode = "emulated"\n', f'mode = "real"\n[device.options]\n{options}', 1)
    return before + name + after.replace("[device.options]\npanels", "panels", 1)


def test_a_real_device_needs_its_address(write: Write) -> None:
    assert sentences(write(real(LANE, "lpr1", ""))) == [
        "device.lpr1.options.host: is missing; a real device needs host and port",
        "device.lpr1.options.port: is missing; a real device needs host and port",
    ]


def test_an_emulated_device_has_no_address(write: Write) -> None:
    assert sentences(write(changed(("panels", 'host = "10.0.0.7"\npanels')))) == [
        'device.rpm1.options.host = "10.0.0.7": must not be given: '
        "an emulated device has no address until it runs"
    ]


def test_a_device_on_a_serial_line_needs_no_host(write: Write) -> None:
    text = real(changed(('"plates"', '"plates_serial"')), "lpr1", 'serial_port = "/dev/ttyUSB0"\n')
    lane = load_lane(write(text), find)
    assert lane.devices[2].mode == "real"


def test_an_empty_serial_line_is_no_address(write: Write) -> None:
    text = real(changed(('"plates"', '"plates_serial"')), "lpr1", 'serial_port = ""\n')
    assert [sentence.split(": ")[0] for sentence in sentences(write(text))] == [
        "device.lpr1.options.host",
        "device.lpr1.options.port",
    ]


@pytest.mark.parametrize(
    ("host", "rule"),
    [
        ("", "is empty; give the name or the address of the device"),
        (" ", "is empty; give the name or the address of the device"),
        (
            "10.0.0.5:1600",
            'must be a name or an address alone; write host = "10.0.0.5" and port = 1600',
        ),
        ("http://10.0.0.5", 'must be a name or an address alone; write host = "10.0.0.5"'),
        ("tcp://lpr1:80/x", 'must be a name or an address alone; write host = "lpr1" and port = 80'),
        ("[fe80::1]:80", 'must be a name or an address alone; write host = "fe80::1" and port = 80'),
        ("10.0.0.256", "must be a name or an address alone"),
        ("the camera", "must be a name or an address alone"),
        ("lpr1:x", "must be a name or an address alone"),
        ("http://[", "must be a name or an address alone"),
    ],
)
def test_a_host_is_a_name_or_an_address_alone(write: Write, host: str, rule: str) -> None:
    text = real(LANE, "lpr1", f'host = "{host}"\nport = 80\n')
    assert sentences(write(text)) == [f'device.lpr1.options.host = "{host}": {rule}']


@pytest.mark.parametrize("host", ["10.0.0.5", "fe80::1", "lpr-1.lane_4.example", "localhost"])
def test_a_name_or_an_address_is_a_host(write: Write, host: str) -> None:
    load_lane(write(real(LANE, "lpr1", f'host = "{host}"\nport = 80\n')), find)


def test_two_devices_cannot_have_one_address(write: Write) -> None:
    address = 'host = "10.0.0.7"\nport = 4001\n'
    text = real(real(LANE, "lpr1", address), "scanner1", address)
    assert sentences(write(text)) == [
        "device.lpr1.options.port = 4001: 10.0.0.7:4001 is already the address of scanner1; "
        "two devices cannot be one"
    ]


def test_two_devices_cannot_have_one_serial_line(write: Write) -> None:
    text = changed(('"plates"', '"plates_serial"')) + '[[device]]\nname = "lpr2"\ndriver = "plates_serial"\n'
    text = real(text + 'mode = "emulated"\n', "lpr2", 'serial_port = "/dev/ttyUSB0"\n')
    assert sentences(write(real(text, "lpr1", 'serial_port = "/dev/ttyUSB0"\n'))) == [
        'device.lpr2.options.serial_port = "/dev/ttyUSB0": /dev/ttyUSB0 is already the address of lpr1; '
        "two devices cannot be one"
    ]


def test_the_sentence_about_a_missing_address_names_the_serial_line_where_there_may_be_one(
    write: Write,
) -> None:
    said = sentences(write(real(changed(('"plates"', '"plates_serial"')), "lpr1", "")))
    assert said[0] == (
        "device.lpr1.options.host: is missing; a real device needs host and port, or serial_port"
    )


def test_two_units_behind_one_gateway_are_two_devices(write: Write) -> None:
    text = real(LANE, "lpr1", 'host = "10.0.0.7"\nport = 502\nunit_id = 1\n')
    load_lane(write(real(text, "scanner1", 'host = "10.0.0.7"\nport = 502\nunit_id = 2\n')), find)


def test_real_outputs_never_stand_on_emulated_evidence(write: Write) -> None:
    assert sentences(write(real(LANE, "io1", 'host = "10.0.0.9"\nport = 502\n'))) == [
        'device.io1.mode = "real": real outputs are refused while a required device is emulated '
        "(rpm1, scanner1, lpr1)"
    ]


def test_a_lane_that_is_all_real_is_not_simulated(write: Write) -> None:
    text = LANE
    for number, device in enumerate(("rpm1", "scanner1", "lpr1", "io1")):
        text = real(text, device, f'host = "10.0.0.{number}"\nport = 4001\n')
    assert not load_lane(write(text), find).simulated


def test_an_emulated_device_that_is_not_required_leaves_the_outputs_alone(write: Write) -> None:
    text = LANE.replace('["rpm", "scanner", "lpr"]', '["rpm"]')
    for number, device in enumerate(("rpm1", "io1")):
        text = real(text, device, f'host = "10.0.0.{number}"\nport = 4001\n')
    assert load_lane(write(text), find).simulated


def test_real_time_cannot_be_hurried(write: Write) -> None:
    text = real(LANE, "lpr1", 'host = "10.0.0.7"\nport = 80\n')
    assert sentences(write(text.replace("[geometry]", "[simulation]\nrate = 5\n[geometry]"))) == [
        "simulation.rate = 5.0: must be 1 with a real device (lpr1): real time cannot be hurried"
    ]


def test_a_real_portal_without_the_sites_steps_is_a_warning(write: Write) -> None:
    lane = load_lane(write(real(LANE, "rpm1", 'host = "10.0.0.7"\nport = 1601\n')), find)
    (warning,) = map(str, lane.warnings)
    assert warning.startswith(
        'device.rpm1.mode = "real": a real portal, and no steps of the site\'s radiation'
    )


# --- the I/O board --------------------------------------------------------------------------------


def with_map(options: str) -> str:
    """The demonstration lane with these options of its board."""
    demo = shipped("lanes", "demo").read_text(encoding="utf-8")
    return f"{demo}\n[device.options]\n{options}\n"


def test_a_board_without_its_coils_is_told_each_of_them_and_what_it_is_for(write: Write) -> None:
    with pytest.raises(LaneFileError) as caught:
        load_lane(write(with_map("coils = {}")), plugins.find)
    places = [problem.place.removeprefix("device.io1.options.coils.") for problem in caught.value.problems]
    assert places == [*NEEDED["coils"]]
    assert str(caught.value.problems[0]) == (
        "device.io1.options.coils.watchdog: is missing; by it the board knows that the station lives, and "
        "drops every output when it does not"
    )


@pytest.mark.parametrize("missing", [*INPUTS])
def test_a_board_needs_the_inputs_that_keep_the_lane_safe(write: Write, missing: str) -> None:
    inputs = ", ".join(f"{name} = {address}" for name, address in INPUTS.items() if name != missing)
    text = with_map(f"inputs = {{ {inputs} }}")
    if missing in ("obstruction", "barrier_up", "cabinet_closed"):
        load_lane(write(text), plugins.find)
        return
    with pytest.raises(LaneFileError) as caught:
        load_lane(write(text), plugins.find)
    (problem,) = caught.value.problems
    assert problem.place == f"device.io1.options.inputs.{missing}"


async def test_what_the_board_does_not_have_is_not_written_and_costs_nothing_else() -> None:
    orders: list[dict[str, bool]] = []

    class Board:
        outputs = frozenset(NEEDED["coils"])

        async def write(self, outputs: dict[str, bool], *, deadline_s: float) -> None:
            orders.append(outputs)
            stop.set()

    stop, board = asyncio.Event(), cast(DigitalIo, Board())
    outputs = Outputs(lambda: board, SystemClock(), lambda: True)
    wanted = Sequencer(Rig().lane.core).outputs()
    assert {*wanted, "watchdog"} == set(COILS)
    outputs.want(wanted)
    await outputs.run(stop)
    assert set(orders[0]) == set(NEEDED["coils"])


def test_a_lane_without_a_board_is_warned_that_it_can_release_nobody(write: Write) -> None:
    text = LANE[: LANE.index('[[device]]\nname = "io1"')]
    (warning,) = map(str, load_lane(write(text), find).warnings)
    assert warning.startswith("device: no device is a DigitalIo: without loops this lane cannot tell")


# --- secrets --------------------------------------------------------------------------------------


def test_a_secret_in_the_file_is_refused_and_not_repeated(write: Write) -> None:
    assert sentences(write(changed(("panels", 'password = "hunter2"\npanels')))) == [
        'device.rpm1.options.password: must be a reference, { credential = "NAME" }: '
        "a lane file holds no secret"
    ]


REFERENCE = ("panels", 'password = { credential = "lpr_key" }\npanels')


def test_a_credential_is_read_where_the_service_manager_put_it(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lpr_key").write_text("hunter2\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    lane = load_lane(write(changed(REFERENCE)), find)
    options = lane.devices[0].options
    assert isinstance(options, NetOptions)
    assert options.password.get_secret_value() == "hunter2"
    assert "hunter2" not in repr(lane)


def test_a_secret_is_not_printed_when_the_driver_refuses_it(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lpr_key").write_text("a-secret-that-is-too-long\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    (said,) = sentences(write(changed(REFERENCE)))
    assert said.startswith('device.rpm1.options.password = {"credential": "lpr_key"}: ')
    assert "too-long" not in said


@pytest.mark.parametrize("value", ["{ credential = 3 }", '{ credential = "../x" }', '{ file = "x" }', "3"])
def test_a_reference_is_the_name_of_a_credential(write: Write, value: str) -> None:
    assert sentences(write(changed(("panels", f"password = {value}\npanels")))) == [
        'device.rpm1.options.password: must be a reference, { credential = "NAME" }: '
        "a lane file holds no secret"
    ]


@pytest.mark.parametrize(
    ("folder", "sentence"),
    [
        (None, "there are no credentials: CREDENTIALS_DIRECTORY is not set (systemd sets it)"),
        (".", "the credential cannot be read (No such file or directory); add LoadCredential=lpr_key to the"),
    ],
)
def test_a_missing_credential_is_named(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str | None, sentence: str
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    if folder:
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / folder))
    (said,) = sentences(write(changed(REFERENCE)))
    assert said.startswith(f'device.rpm1.options.password = {{ credential = "lpr_key" }}: {sentence}')


# --- what is shipped ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", sorted((config_folder() / "lanes").glob("*.toml")), ids=lambda path: path.stem
)
def test_a_shipped_lane_is_right(path: Path) -> None:
    lane: LaneFile = load_lane(path, plugins.find)
    assert lane.simulated
    assert lane.warnings == ()


def test_the_demonstration_lane_has_one_device_of_each_role() -> None:
    lane = load_lane(shipped("lanes", "demo"), plugins.find)
    assert lane.lane.id == "DEMO-01"
    assert sorted(device.role for device in lane.devices) == [
        "Camera",
        "DigitalIo",
        "LineScanner",
        "PortalMonitor",
    ]
    assert {device.mode for device in lane.devices} == {"emulated"}


def test_the_committed_schema_is_current() -> None:
    committed = (config_folder() / "schema" / "lane.schema.json").read_text(encoding="utf-8")
    assert committed == schema_text(), "write it anew: see docs/reference/lane-file.md"


def test_the_schema_knows_every_table_and_unit() -> None:
    schema = json.loads(schema_text())
    assert set(schema["properties"]) == {
        *("lane", "consumer", "issuer", "geometry", "simulation", "device", "radiation", "ui")
    }
    assert "portal_beams_m" in schema["$defs"]["LaneGeometry"]["properties"]


def test_an_unknown_shipped_file_names_what_there_is() -> None:
    with pytest.raises(UnknownName, match="'demos': nothing of this name is shipped; there are demo, "):
        shipped("scenarios", "demos")


@pytest.mark.parametrize("driver", ["portal_a", "lines", "board"])
def test_a_second_device_that_could_hide_a_dark_one_is_refused(write: Write, driver: str) -> None:
    text = LANE + f'[[device]]\nname = "second"\ndriver = "{driver}"\nmode = "emulated"\n'
    said = sentences(write(text))
    assert any(line.startswith("device.second: is a second") for line in said), said
