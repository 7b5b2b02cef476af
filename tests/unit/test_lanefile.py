"""A lane file is right as a whole, or each sentence says where it is wrong and what is allowed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field, SecretStr

from drivers.api import Driver, DriverContext, DriverSpec, Options, Role
from drivers.geometry import LaneGeometry
from station import plugins
from station.lanefile import (
    LaneFile,
    LaneFileError,
    UnknownName,
    config_folder,
    load_lane,
    schema_text,
    shipped,
)

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
            "lane.oficer: unknown key; allowed are id, name, site, direction, time_zone, officer, required; "
            "did you mean 'officer'?",
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
            'lane.required = "manifest": no source of manifests can be fitted in this version; leave it out',
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
            "radiaton: unknown key; allowed are lane, consumer, geometry, simulation, device, radiation, ui; "
            "did you mean 'radiation'?",
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
        *("lane", "consumer", "geometry", "simulation", "device", "radiation", "ui")
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
