"""A lane file is right as a whole, or each sentence says where it is wrong and what is allowed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from drivers.api import Role
from drivers.geometry import LaneGeometry
from station.lanefile import (
    LaneFileError,
    load_lane,
)
from tests.support.lane_files import (
    LANE,
    NetOptions,
    Write,
    changed,
    find,
    sentences,
)

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
