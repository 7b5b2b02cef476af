"""The command line: light, in sentences, and never a traceback for what a person did."""

from __future__ import annotations

import http.server
import json
import re
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from pydantic import Field

import drivers
from drivers.api import (
    BadFrame,
    ConnectFailed,
    DeviceIdentity,
    Driver,
    DriverContext,
    DriverSpec,
    LinkLost,
    Options,
    Reading,
    Role,
)
from drivers.readings import Channel, Counts, Phase, Speed, Stamp
from station import __version__, plugins
from station.cli.main import COMMANDS, main
from station.lanefile import config_folder

CARRIL = [sys.executable, "-c", "import sys; from station.cli.main import main; sys.exit(main())"]
HEAVY = ("cv2", "fastapi", "sqlalchemy", "uvicorn", "scipy")


def carril(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CARRIL, *arguments], capture_output=True, text=True, cwd=cwd, timeout=30, check=False
    )


def imported(arguments: list[str]) -> list[str]:
    """Which heavy modules a command has imported when it ends."""
    code = (
        "import contextlib, io, json, sys\n"
        "from station.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({arguments!r})\n"
        f"print(json.dumps([name for name in {(*HEAVY, 'pymodbus')!r} if name in sys.modules]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    found: list[str] = json.loads(done.stdout)
    return found


# --- light ----------------------------------------------------------------------------------------


def test_importing_the_command_line_imports_nothing_heavy() -> None:
    assert imported(["--version"]) == []


def test_help_imports_nothing_heavy() -> None:
    assert imported(["--help"]) == []


def test_check_imports_nothing_heavy() -> None:
    """What a driver itself needs to say what its options are is the driver's own affair."""
    assert set(imported(["check"])) <= {"pymodbus"}


# --- check ----------------------------------------------------------------------------------------


def test_the_shipped_lane_is_right_from_anywhere(tmp_path: Path) -> None:
    done = carril("check", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "no problem found" in done.stdout
    assert "lane DEMO-01, in, America/Chicago, sha256 " in done.stdout
    assert "SIMULATED" in done.stdout


def test_a_wrong_lane_file_is_all_its_problems_and_exit_2(tmp_path: Path) -> None:
    lane = tmp_path / "lane.toml"
    demo = (config_folder() / "lanes" / "demo.toml").read_text()
    lane.write_text(demo.replace('"in"', '"inn"').replace('"linestream"', '"linestrem"'))
    done = carril("check", "--lane", str(lane))
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert first == f"carril: {lane}: lane.direction = \"inn\": must be 'in' or 'out'; did you mean 'in'?"
    assert second.startswith(
        f'{lane}: device.scanner1.driver = "linestrem": no driver of this name is installed'
    )
    assert second.endswith("did you mean 'linestream'?")


def test_a_lane_file_that_is_not_there_is_one_sentence_and_exit_2(tmp_path: Path) -> None:
    done = carril("check", "--lane", str(tmp_path / "lane.toml"))
    assert done.returncode == 2
    assert done.stderr == (
        f"carril: {tmp_path}/lane.toml: cannot be read (no such file or directory); "
        "give the path of a lane file\n"
    )


def test_the_file_may_stand_alone_but_not_beside_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lane = tmp_path / "lane.toml"
    lane.write_text((config_folder() / "lanes" / "demo.toml").read_text().replace("DEMO-01", "LAR-01"))
    for arguments in ([str(lane)], ["--lane", str(lane)]):
        assert main(["check", *arguments]) == 0
        assert "lane LAR-01" in capsys.readouterr().out
    for arguments in ([str(lane), "--lane", str(lane)], ["--lane", str(lane), str(lane)]):
        with pytest.raises(SystemExit) as caught:
            main(["check", *arguments])
        assert caught.value.code == 2
        assert "not allowed with argument" in capsys.readouterr().err


def test_a_lane_file_with_warnings_is_not_called_free_of_problems(
    portal: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", *portal([])]) == 0
    said = capsys.readouterr()
    assert "no error, but see the warnings" in said.out
    assert "no device is a DigitalIo" in said.err


def test_two_mixed_installations_are_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(drivers, "__file__", "/elsewhere/drivers/__init__.py")
    assert main(["check"]) == 2
    assert "the package drivers comes from /elsewhere, and station from" in capsys.readouterr().err


# --- the command itself ---------------------------------------------------------------------------


def test_help_names_every_command() -> None:
    done = carril("--help")
    assert done.returncode == 0
    for command in COMMANDS:
        assert re.search(rf"\n    {command}\s", done.stdout)


def test_version() -> None:
    assert carril("--version").stdout == f"carril {__version__}\n"


@pytest.mark.parametrize(
    "arguments", [[], ["chek"], ["check", "--lain", "x"], ["probe"], ["status", "--port", "x"]]
)
def test_wrong_usage_is_exit_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: carril" in capsys.readouterr().err


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    command = (
        f"{sys.executable} -c 'import sys; from station.cli.main import main; sys.exit(main())' check | true"
    )
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def broken_command(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = EntryPoint("extra", "nothing_like_this:register", "carril.commands")
    monkeypatch.setattr("station.cli.main.entry_points", lambda group: [entry])


@pytest.mark.usefixtures("broken_command")
def test_a_broken_command_of_another_package_costs_only_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    assert capsys.readouterr().err == ""
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "carril: warning: the command extra cannot be loaded" in capsys.readouterr().err
    assert main(["extra"]) == 2
    assert "No module named 'nothing_like_this'); reinstall its package" in capsys.readouterr().err


# --- status ---------------------------------------------------------------------------------------


@pytest.fixture
def serve() -> Iterator[Callable[[int, bytes], int]]:
    """Serve one answer on loopback; returns the port."""
    servers: list[http.server.HTTPServer] = []

    def _serve(status: int, body: bytes) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/v1/health" else 404)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield _serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("lane", "code"), [("ok", 0), ("degraded", 1)])
def test_status_prints_the_stations_health(
    serve: Callable[[int, bytes], int], capsys: pytest.CaptureFixture[str], lane: str, code: int
) -> None:
    health = {"lane": lane, "devices": {"rpm1": "online"}, "reasons": ["a", "b"]}
    assert main(["status", "--port", str(serve(200, json.dumps(health).encode()))]) == code
    assert capsys.readouterr().out.split() == [
        "lane:",
        lane,
        "devices:",
        "rpm1:",
        "online",
        "reasons:",
        "a,",
        "b",
    ]


def test_no_station_is_one_sentence(
    serve: Callable[[int, bytes], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--port", "1"]) == 1
    assert capsys.readouterr().err == (
        "carril: no station answers on 127.0.0.1:1 (connection refused); "
        "start one with `carril run` or give its --port\n"
    )


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (200, b"[]"), (404, b"{}"), (200, b"\xff")])
def test_another_program_on_the_port_is_one_sentence(
    serve: Callable[[int, bytes], int], capsys: pytest.CaptureFixture[str], status: int, body: bytes
) -> None:
    assert main(["status", "--port", str(serve(status, body))]) == 1
    assert "is no Carril station; give its --port" in capsys.readouterr().err


# --- probe ----------------------------------------------------------------------------------------

STAMP = Stamp(0, 0, "test")
SAYS: list[Reading | BadFrame | BaseException] = [
    Counts(STAMP, Channel.GAMMA, Phase.BACKGROUND, 1.0, (612, 588), raw=b"GB,000612,000588"),
    Counts(STAMP, Channel.GAMMA, Phase.SCAN, 0.2, (120, 118)),
    Speed(STAMP, 3.5),
    BadFrame("not_ascii", 17, b"\xff\xfe"),
]


class ProbeOptions(Options):
    host: str = "127.0.0.1"
    port: int = Field(default=1601, ge=1)


class Fake:
    """A device that says all it has to say at once, and then is silent or ends."""

    def __init__(self, options: ProbeOptions, context: DriverContext, says: list[object]) -> None:
        self.options, self.context, self.says = options, context, says

    async def open(self) -> DeviceIdentity:
        if self.options.port == 9:
            raise ConnectFailed("127.0.0.1:9 cannot be reached (refused): check power, network and address")
        return DeviceIdentity(make="Acme", serial="17")

    async def readings(self) -> AsyncIterator[Reading | BadFrame]:
        for item in self.says:
            if isinstance(item, BaseException):
                raise item
            yield item  # type: ignore[misc]  # an item of SAYS

    async def close(self) -> None:
        pass


@pytest.fixture
def portal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., list[str]]:
    """A lane whose only device is a fake portal; returns the arguments for it."""

    def _portal(says: list[object], mode: str = "emulated", options: str = "") -> list[str]:
        def make(options: ProbeOptions, context: DriverContext) -> Driver:
            return Fake(options, context, says)

        spec = DriverSpec("fake", Role.PORTAL_MONITOR, ProbeOptions, make, "x:X")
        monkeypatch.setattr(plugins, "find", lambda name: spec)
        demo = (config_folder() / "lanes" / "demo.toml").read_text()
        head = demo[: demo.index("[[device]]")].replace('["rpm", "scanner", "lpr"]', '["rpm"]')
        device = f'[[device]]\nname = "rpm1"\ndriver = "fake"\nmode = "{mode}"\n[device.options]\n{options}'
        (tmp_path / "lane.toml").write_text(head + device)
        return ["--lane", str(tmp_path / "lane.toml")]

    return _portal


def test_probe_says_who_answers_and_what_comes(
    portal: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["probe", "rpm1", *portal(SAYS), "--port", "4711", "--for", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rpm1: PortalMonitor, driver fake, make Acme, serial 17"
    assert lines[1].split("  ")[-1] == "2 Counts, 1 Speed, 1 bad frame not_ascii"
    assert lines[2:] == [
        "the device ended the link",
        "3 readings, 1 bad frames",
        "  last Counts: channel gamma, phase scan, interval_s 0.2, counts [120, 118], flag none, "
        "t_device None, stamp_interpolated False, windows None",
        "  last Speed: speed_mps 3.5, inconsistent False",
        "  last bad frame not_ascii: kind not_ascii, offset 17, head 2 bytes ff fe",
    ]


def test_probe_of_a_silent_device_is_exit_1(
    portal: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["probe", "rpm1", *portal([]), "--port", "4711", "--for", "1"]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "0 readings, 0 bad frames"


@pytest.mark.parametrize(
    ("arguments", "sentence", "code"),
    [
        (
            ["rpm1"],
            "rpm1 is emulated: it exists only while `carril run` runs; give the --port that this prints",
            2,
        ),
        (["rmp1", "--port", "1"], "'rmp1': no device of ", 2),
        (["rmp1", "--port", "1"], "has this name; there are rpm1; did you mean 'rpm1'?", 2),
        (["rpm1", "--port", "9"], "rpm1: 127.0.0.1:9 cannot be reached (refused): check power", 1),
        (["rpm1", "--port", "10"], "rpm1: reset by peer", 1),
    ],
)
def test_probe_answers_in_a_sentence(
    portal: Callable[..., list[str]],
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    sentence: str,
    code: int,
) -> None:
    assert main(["probe", *arguments, *portal([LinkLost("reset by peer")]), "--for", "1"]) == code
    said = [line for line in capsys.readouterr().err.splitlines() if "no device is a DigitalIo" not in line]
    assert len(said) == 1
    assert sentence in said[0]


def test_probe_of_a_real_device_takes_the_lane_files_address_and_warns_about_a_real_portal(
    portal: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    lane = portal(SAYS, mode="real", options='host = "10.0.0.7"\nport = 1601\n')
    assert main(["probe", "rpm1", *lane, "--for", "1"]) == 0
    said = capsys.readouterr().err
    assert said.startswith("carril: warning: ")
    assert "a real portal, and no steps of the site's radiation safety officer" in said


@pytest.mark.parametrize("wrong", [["--for", "0"], ["--for", "nan"], ["--port", "0"], ["--port", "70000"]])
def test_probe_refuses_numbers_that_mean_nothing(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["probe", "rpm1", *wrong])
    assert caught.value.code == 2
    assert wrong[1] in capsys.readouterr().err
