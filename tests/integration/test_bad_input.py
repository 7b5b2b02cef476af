"""What a person can get wrong at ``carril run``: a sentence, exit 2, and nothing on the disk has changed."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from station.cli.main import main
from station.lanefile import config_folder
from tests.support.journal import open_small

DEMO = (config_folder() / "lanes" / "demo.toml").read_text(encoding="utf-8")
SCENARIO = (config_folder() / "scenarios" / "demo.toml").read_text(encoding="utf-8")
SHIPPED = "there are demo, recorded"

Refused = Callable[..., str]


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refused:
    """Run ``carril run`` with a state folder of its own; return its sentence."""

    def _refused(*arguments: str, state: Path = tmp_path / "state") -> str:
        before = _everything(tmp_path)
        assert main(["run", "--state", str(state), "--port", "0", *arguments]) == 2
        assert _everything(tmp_path) == before, "nothing may have changed"
        said = capsys.readouterr()
        assert said.out == ""
        assert "Errno" not in said.err
        assert "Traceback" not in said.err
        return said.err.removeprefix("carril: ").removesuffix("\n")

    return _refused


def _everything(folder: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (('"in"', '"inn"'), "lane.direction = \"inn\": must be 'in' or 'out'; did you mean 'in'?"),
        (('"tsa_ascii"', '"tsa_asci"'), "did you mean 'tsa_ascii'?"),
        (('"demo"', '"demmo"'), f'simulation.scenario = "demmo": nothing of this name is shipped; {SHIPPED}'),
        (("id = ", "idd = "), "lane.idd: unknown key; allowed are id, name,"),
    ],
)
@pytest.mark.fault("F27")
def test_a_wrong_lane_file(refused: Refused, tmp_path: Path, change: tuple[str, str], sentence: str) -> None:
    lane = written(tmp_path, "lane.toml", DEMO.replace(*change, 1))
    said = refused("--lane", lane)
    assert said.startswith(f"{lane}: ")
    assert sentence in said


def test_a_missing_or_unreadable_lane_file(refused: Refused, tmp_path: Path) -> None:
    absent = tmp_path / "lane.toml"
    assert "cannot be read (no such file or directory); give the path" in refused("--lane", str(absent))
    assert "cannot be read (is a directory); give the path" in refused("--lane", str(tmp_path))
    if os.geteuid() != 0:  # root may read everything
        absent.touch(mode=0)
        assert "cannot be read (permission denied)" in refused("--lane", str(absent))


def test_a_taken_port(refused: Refused) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])
        assert refused("--port", port) == (
            f"port {port} is taken by another program; stop it, or choose another port with --port "
            "(make run PORT=…)"
        )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "::1", "127.0.0.2", "example.org", ""])  # noqa: S104
def test_another_address(refused: Refused, host: str) -> None:
    assert "a lane serves this computer only; leave --host away or give 127.0.0.1" in refused("--host", host)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ("recordd", f"--scenario recordd: nothing of this name is shipped; {SHIPPED}"),
        ("recordd", "did you mean 'recorded'?"),
        (
            "absent.toml",
            "absent.toml: cannot be read (no such file or directory); give the name of a shipped",
        ),
    ],
)
def test_an_unknown_scenario(refused: Refused, given: str, sentence: str) -> None:
    assert sentence in refused("--scenario", given)


def test_a_wrong_scenario_is_said_as_a_wrong_lane_file_is(refused: Refused, tmp_path: Path) -> None:
    wrong = SCENARIO.replace("gap_s", "gap_ss", 1).replace('"pallets"', '"palets"', 1)
    path = written(tmp_path, "mine.toml", wrong)
    said = refused("--scenario", path)
    assert (
        f"{path}: gap_ss: unknown key; allowed are title, needs, gap_s, truck; did you mean 'gap_s'?" in said
    )
    assert "load = \"palets\": must be 'pallets'" in said
    # A lane file in place of a scenario, whole tables and all, is still a few sentences.
    said = refused("--scenario", written(tmp_path, "lane.toml", DEMO))
    assert f"{tmp_path}/lane.toml: title: is missing; it is required" in said
    assert max(map(len, said.splitlines())) < 300


def test_a_recording_that_is_not_there_changes_nothing_even_if_the_lane_file_names_it(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the recording is sought beside the folder that one runs in
    lane = written(tmp_path, "lane.toml", DEMO.replace('scenario = "demo"', 'scenario = "recorded"'))
    assert "the scenario recorded plays the recording" in refused("--lane", lane)


def test_a_scenario_for_a_lane_without_emulated_devices(refused: Refused, tmp_path: Path) -> None:
    head = DEMO[: DEMO.index("[[device]]")].replace('["rpm", "scanner", "lpr"]', '["rpm"]')
    device = '[[device]]\nname = "rpm1"\ndriver = "tsa_ascii"\nmode = "real"\n'
    real = written(
        tmp_path, "lane.toml", f'{head}{device}[device.options]\nhost = "192.0.2.1"\nport = 1601\n'
    )
    said = refused("--lane", real, "--scenario", "demo")
    assert said.endswith(f"--scenario demo: no device of {real} is emulated; leave it away")


def test_a_state_folder_in_use(refused: Refused, tmp_path: Path) -> None:
    store = open_small(tmp_path / "held")
    try:
        assert "is in use by process" in refused(state=tmp_path / "held")
    finally:
        store.close()


def test_a_state_folder_of_another_station(refused: Refused, tmp_path: Path) -> None:
    open_small(tmp_path / "other").close()
    said = refused(state=tmp_path / "other")
    assert "LAR-04" in said
    assert "DEMO-01" in said


def test_a_state_folder_that_is_a_file(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for state in (tmp_path / "file", tmp_path / "file" / "below"):
        said = refused(state=state)
        assert said.startswith(f"{state} cannot be used (")
        assert said.endswith("; give a folder that may be written with --state")


@pytest.mark.parametrize(
    "wrong",
    [
        ["run", "--port", "70000"],
        ["run", "--port", "x"],
        ["status", "--port", "99999"],
        ["status", "--port", "0"],
        ["sim", "fault", "rpm1", "garbage", "--for", "nan"],
        ["sim", "fault", "rpm1", "garbage", "--for", "-3"],
        ["sim", "fault", "rpm1", "garbage", "--for", "soon"],
    ],
)
def test_numbers_that_mean_nothing(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(wrong)
    assert caught.value.code == 2
    assert f"{wrong[-1]}: " in capsys.readouterr().err.splitlines()[-1]
