"""A lane file and its devices: real or emulated, the board, secrets, and the lanes that are shipped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import cast

import pytest

from drivers.api import DigitalIo
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
from tests.support.lane_files import (
    LANE,
    NetOptions,
    Write,
    changed,
    find,
    sentences,
)
from tests.support.lane_rig import Rig

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


FOLDER = (
    '[[device]]\nname = "{name}"\ndriver = "plates_folder"\nmode = "{mode}"\n[device.options]\n{folder}\n'
)


def test_the_address_of_a_device_that_leaves_files_is_its_folder(write: Write) -> None:
    missing = sentences(write(LANE + FOLDER.format(name="a", mode="real", folder="")))
    assert missing == ["device.a.options.folder: is missing; a real device needs its folder"]
    given = sentences(write(LANE + FOLDER.format(name="a", mode="emulated", folder='folder = "/x"')))
    assert 'device.a.options.folder = "/x": must not be given' in given[0]
    one = FOLDER.format(name="a", mode="real", folder='folder = "/x"')
    other = FOLDER.format(name="b", mode="real", folder='folder = "/x"')
    said = sentences(write(LANE + one + other))
    assert any(
        line.startswith('device.b.options.folder = "/x": /x is already the address of a') for line in said
    ), said
