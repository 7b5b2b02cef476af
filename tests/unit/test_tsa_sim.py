"""The emulated TSA portal: cadence, Poisson counts, alarm rule, hold-in, faults; and its socket and pty."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading

import numpy as np
import pytest
from scipy import stats

from drivers.plant.clock import PlantClock
from drivers.plant.panels import poisson_limit
from drivers.plant.rig import within
from drivers.plant.vehicle import Halt, Source, Vehicle
from drivers.plant.world import STEP_S, Background
from drivers.readings import BadFrame
from drivers.rpm.tsa.codec import CountsLine, EndLine, Record, SetupLine, SpeedLine, TamperLine, TsaCodec
from drivers.rpm.tsa.driver import TsaOptions
from drivers.rpm.tsa.portal import FAULTS, INTERVAL_S, TsaPortal
from drivers.rpm.tsa.sim import TsaEmulator
from tests.support.lane_places import APPROACH_S, CLEAN, HOT, lane

Timed = list[tuple[float, Record | BadFrame]]


class Bench:
    """A portal in virtual time, read by the real codec."""

    def __init__(self, *trucks: Vehicle, seed: int = 1) -> None:
        self.clock = PlantClock(0)
        self.start_s = self.clock.monotonic_s()
        self.plant = lane(self.clock, *trucks)
        self.portal = TsaPortal(self.plant, seed)
        self.codec = TsaCodec()

    def run(self, seconds: float) -> Timed:
        said: Timed = []
        for _ in range(round(seconds / INTERVAL_S)):
            self.clock.advance(INTERVAL_S)
            data = b"".join(self.portal.step(self.clock.monotonic_s()))
            now_s = round(self.clock.monotonic_s() - self.start_s, 3)
            said += [(now_s, item) for item in self.codec.feed(data)]
        return said

    def passage(self) -> Timed:
        """Run until the occupancy is over and return what was said of it."""
        return [(s, item) for s, item in self.run(APPROACH_S + 10) if not _background(item)]


def _background(item: Record | BadFrame) -> bool:
    return isinstance(item, CountsLine) and item.tag[1] in "BHL"


def tags(said: Timed) -> list[str]:
    return [
        getattr(item, "tag", None) or getattr(item, "part", None) or type(item).__name__ for _, item in said
    ]


def times(said: Timed, *wanted: str) -> list[float]:
    return [s for (s, _), tag in zip(said, tags(said), strict=True) if tag in wanted]


def totals(said: Timed, *wanted: str) -> list[int]:
    return [sum(c for c in i.counts if c) for _, i in said if isinstance(i, CountsLine) and i.tag in wanted]


# --- the healthy portal ---------------------------------------------------------------------------


def test_a_vacant_portal_sends_backgrounds_every_five_seconds() -> None:
    said = Bench().run(21)
    assert times(said, "GB") == times(said, "NB") == [5.0, 10.0, 15.0, 20.0]
    assert set(tags(said)) == {"GB", "NB"}


def test_counts_are_poisson() -> None:
    bench = Bench(seed=7)
    rates = np.array(bench.plant.background.gamma_cps)
    counts = np.array([i.counts for _, i in bench.run(1_000) if isinstance(i, CountsLine) and i.tag == "GB"])
    n = len(counts)
    assert n == 200
    assert np.all(np.abs(counts.mean(axis=0) - rates) < 3.5 * np.sqrt(rates / n))
    dispersion = counts.var(axis=0, ddof=1) / rates
    assert np.all(np.abs(dispersion - 1) < 3.5 * np.sqrt(2 / (n - 1)))  # a uniform ±5 % has 0.5


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not() -> None:
    first, again, other = (Bench(HOT, seed=seed).run(12) for seed in (3, 3, 4))
    assert first == again
    assert first != other


def test_an_occupancy_has_its_cadence_and_ends_with_gx() -> None:
    said = Bench(CLEAN).passage()
    gamma, neutron, speed, end = times(said, "GS"), times(said, "NS"), times(said, "SpeedLine"), said[-1]
    assert gamma == pytest.approx(np.arange(gamma[0], gamma[-1] + 0.1, 0.2))
    assert neutron == pytest.approx(np.arange(gamma[4], gamma[-1] + 0.1, 1.0))
    assert speed == gamma[5::6]
    middle_s = gamma[0] - INTERVAL_S / 2
    assert APPROACH_S + STEP_S <= middle_s < APPROACH_S + STEP_S + INTERVAL_S, "the first middle in the beams"
    assert isinstance(end[1], EndLine)
    assert end[1].occupancy_count == 1
    assert end[1].neutron_background == pytest.approx(3.0, abs=0.6)
    assert end[0] == pytest.approx(gamma[-1] + 0.2)


def test_the_scan_goes_on_ten_intervals_after_vacancy() -> None:
    bench = Bench(CLEAN)
    last_occupied_s, scans_after, over = 0.0, 0, False
    while not over:
        for s, item in bench.run(INTERVAL_S):
            over = over or isinstance(item, EndLine)
            if bench.portal.panels.occupied:
                last_occupied_s = s
            elif last_occupied_s and isinstance(item, CountsLine) and item.tag == "GS":
                scans_after += 1
    assert scans_after == 10


def test_the_next_background_comes_five_seconds_after_gx() -> None:
    said = Bench(CLEAN).run(APPROACH_S + 16)
    (end,) = times(said, "EndLine")
    assert [s for s in times(said, "GB") if s > APPROACH_S][:1] == pytest.approx([end + 5])


def test_speed_is_that_of_the_truck() -> None:
    speeds = [item for _, item in Bench(CLEAN).passage() if isinstance(item, SpeedLine)]
    assert speeds[0].speed_mps == pytest.approx(CLEAN.speed_mps, rel=0.01)
    assert not any(speed.inconsistent for speed in speeds)


def test_a_truck_that_stops_and_rolls_back_in_the_portal_is_one_long_occupancy() -> None:
    halts = (Halt(at_m=8.0, wait_s=20.0, back_m=2.0), Halt(at_m=12.0, wait_s=1.0))
    bench = Bench(HOT.model_copy(update={"halts": halts}))
    places: list[tuple[float, float]] = []
    speeds: list[float] = []
    ends = 0
    while not ends:
        said = [item for _, item in bench.run(INTERVAL_S)]
        places.append((bench.plant.nose_m, bench.plant.speed_mps))
        speeds += [item.speed_mps for item in said if isinstance(item, SpeedLine)]
        ends += sum(isinstance(item, EndLine) for item in said)
        assert not any(isinstance(item, BadFrame) for item in said)
    stood = [nose for nose, speed in places if speed == 0 and nose > 0]
    assert len([nose for nose in stood if nose == pytest.approx(8.0, abs=0.02)]) == pytest.approx(100, abs=3)
    assert min(speed for _, speed in places) == -1.0
    back = [nose for nose, speed in places if speed < 0]
    assert (min(back), max(back)) == (pytest.approx(6.0, abs=0.25), pytest.approx(8.0, abs=0.25))
    assert any(nose == pytest.approx(12.0, abs=0.02) for nose in stood)
    assert 0.0 in speeds
    assert min(speeds) == 0.0, "the portal tells how fast, not which way"


def test_ga_replaces_gs_exactly_while_the_window_exceeds_its_limit() -> None:
    bench = Bench(HOT, seed=5)
    bench.run(APPROACH_S - 0.4)
    limit = bench.portal.panels.gamma_limit
    assert limit == pytest.approx(2400 + 7 * 2400**0.5, rel=0.02)
    scans = [i for _, i in bench.run(8) if isinstance(i, CountsLine) and i.tag in ("GS", "GA")]
    sums = np.array([sum(c for c in scan.counts if c is not None) for scan in scans])
    for n in range(4, len(scans)):
        assert (scans[n].tag == "GA") == (sums[n - 4 : n + 1].sum() > limit)
    assert {scan.tag for scan in scans} == {"GS", "GA"}


def test_na_replaces_ns_from_its_limit_on() -> None:
    warm = Vehicle(name="warm", plate="W", sources=(Source(at_m=6.0, neutron_cps=12),))
    seen: dict[str, list[int]] = {"NS": [], "NA": []}
    for seed in range(30):
        bench = Bench(warm, seed=seed)
        bench.run(APPROACH_S - 0.4)
        limit = bench.portal.panels.neutron_limit
        said = bench.run(8)
        for tag, above in seen.items():
            above += [total - limit for total in totals(said, tag)]
    assert max(seen["NS"]) == -1
    assert min(seen["NA"]) == 0


def test_the_background_is_learnt_from_the_empty_lane() -> None:
    bench = Bench()
    before = bench.portal.panels.gamma_background
    bench.plant.background = Background((300.0,) * 4, (3.0,) * 4)
    bench.run(120)
    assert before == pytest.approx(2400, rel=0.02)
    assert bench.portal.panels.gamma_background == pytest.approx(1200, rel=0.03)
    assert bench.portal.panels.neutron_background == pytest.approx(12, rel=0.1)


def test_an_occupied_lane_teaches_no_background() -> None:
    bench = Bench(HOT.model_copy(update={"speed_mps": 1.0}))
    bench.run(APPROACH_S + 1)
    before = bench.portal.panels.gamma_background
    bench.run(8)
    assert bench.portal.occupied
    assert bench.portal.panels.gamma_background == before


def test_a_clean_truck_raises_no_alarm() -> None:
    for seed in range(20):
        assert {"GA", "NA"}.isdisjoint(tags(Bench(CLEAN, seed=seed).passage()))


@pytest.mark.parametrize("mean", [0.5, 1, 2, 3, 5, 8, 20])
@pytest.mark.parametrize("probability", [1e-3, 1e-5])
def test_neutron_limit_against_scipy(mean: float, probability: float) -> None:
    limit = poisson_limit(mean, probability)
    assert stats.poisson.sf(limit - 1, mean) <= probability < stats.poisson.sf(limit - 2, mean)


def test_neutron_limit_of_published_means() -> None:
    assert [poisson_limit(mean, 1e-4) for mean in (1, 2, 5, 8, 20)] == [7, 10, 16, 21, 40]


def test_the_occupancy_number_starts_again_after_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.rpm.tsa.portal.DAY_S", 60.0)  # else the plant moves for 17 million steps
    bench = Bench()
    bench.portal.count = 41
    bench.run(59)
    assert bench.portal.count == 41
    bench.run(1)
    assert bench.portal.count == 0


def test_who_connects_gets_setup_and_background_and_background_again_after_five_seconds() -> None:
    bench = Bench()
    bench.run(3)
    items = bench.codec.feed(b"".join(bench.portal.connected()))
    assert [item.part for item in items if isinstance(item, SetupLine)] == ["SG1", "SG2", "SG3", "SN1", "SN2"]
    assert [item.tag for item in items if isinstance(item, CountsLine)] == ["GB", "NB"]
    assert times(bench.run(6), "GB") == [8.0]


def test_who_connects_during_an_occupancy_gets_no_background() -> None:
    bench = Bench(CLEAN)
    bench.run(APPROACH_S + 1)
    items = bench.codec.feed(b"".join(bench.portal.connected()))
    assert {type(item) for item in items} == {SetupLine}


# --- its faults -----------------------------------------------------------------------------------


def faulty(name: str) -> Timed:
    bench = Bench(CLEAN)
    bench.portal.fault(name, on=True)
    return bench.run(APPROACH_S + 10)


def test_missing_lines() -> None:
    assert "EndLine" not in tags(faulty("missing_gx"))
    assert "NS" not in tags(faulty("missing_ns"))


def test_fault_records_of_the_background() -> None:
    assert {"GH", "NB"} <= set(tags(faulty("gamma_high")[:4]))
    assert {"GL", "NB"} <= set(tags(faulty("gamma_low")[:4]))
    assert {"GB", "NH"} <= set(tags(faulty("neutron_high")[:4]))
    assert {"GB", "NL"} <= set(tags(faulty("neutron_low")[:4]))


def test_tamper_is_said_once_when_it_opens_and_once_when_it_closes() -> None:
    bench = Bench()
    for on, tamper in ((True, [TamperLine]), (True, []), (False, [TamperLine]), (False, [])):
        bench.portal.fault("tamper", on=on)
        said = [item for _, item in bench.run(1) if isinstance(item, TamperLine)]
        assert [type(item) for item in said] == tamper
        assert all(item.open is on for item in said)


def test_partial_and_frozen_counts() -> None:
    partial = [i.counts[3] for _, i in faulty("partial") if isinstance(i, CountsLine)]
    assert partial == [None] * len(partial)
    frozen = {i.counts for _, i in faulty("frozen_counts") if isinstance(i, CountsLine) and i.tag == "GS"}
    assert len(frozen) == 1


def test_duplicate_reorder_and_burst_change_no_line() -> None:
    sound = [i.raw for _, i in Bench(CLEAN).run(APPROACH_S + 10) if not isinstance(i, BadFrame)]
    twice = [i.raw for _, i in faulty("duplicate") if not isinstance(i, BadFrame)]
    swapped = [i.raw for _, i in faulty("reorder") if not isinstance(i, BadFrame)]
    burst = faulty("burst")
    assert twice == [raw for raw in sound for _ in range(2)]
    assert swapped[:2] == [sound[1], sound[0]]
    assert sorted(swapped) == sorted(sound[: len(swapped)])
    assert [i.raw for _, i in burst if not isinstance(i, BadFrame)] == sound
    first = times(burst, "GS")
    assert first[0] == first[5] < first[6]


def test_garbled_and_half_lines_are_bad_frames_or_other_words_and_the_rest_is_read() -> None:
    for name in ("garble", "half_line"):
        said = faulty(name)
        assert len([i for _, i in said if isinstance(i, BadFrame)]) >= 3
        assert len(times(said, "GS")) > 15


def test_counters() -> None:
    bench = Bench(CLEAN)
    bench.passage()
    bench.portal.fault("counter_reset", on=True)
    assert bench.portal.count == 0
    bench.portal.fault("frozen_counter", on=True)
    (end,) = [item for _, item in bench.run(40) if isinstance(item, EndLine)]
    assert end.occupancy_count == 0


def test_restart_in_mid_occupancy_is_silence_then_setup_then_scans_and_a_low_number() -> None:
    bench = Bench(CLEAN.model_copy(update={"speed_mps": 2.0}))
    bench.run(APPROACH_S + 2)
    bench.portal.count = 41
    begun_s = bench.clock.monotonic_s() - bench.start_s
    bench.portal.fault("restart", on=True)
    said = bench.run(12)
    assert said[0][0] >= begun_s + 1.0
    assert tags(said)[:6] == ["SG1", "SG2", "SG3", "SN1", "SN2", "GS"]
    (end,) = [item for _, item in said if isinstance(item, EndLine)]
    assert end.occupancy_count == 1


def test_ten_times_the_rate() -> None:
    usual, fast = Bench(CLEAN).passage(), faulty("rate_10x")
    assert len(times(fast, "GS")) - 10 == pytest.approx(10 * (len(times(usual, "GS")) - 10), abs=10)


def test_every_fault_is_known_and_ends_without_a_trace() -> None:
    bench = Bench()
    for name in sorted(FAULTS):
        bench.portal.fault(name, on=False)
    assert set(tags(bench.run(6))) == {"GB", "NB"}
    with pytest.raises(ValueError, match="no fault of this portal; known are burst, clock_jump"):
        bench.portal.fault("half_open", on=True)


# --- on the wire ----------------------------------------------------------------------------------


def emulator(rate: float = 5.0) -> TsaEmulator:
    clock = PlantClock(rate)
    return TsaEmulator(TsaOptions(), lane(clock), clock, 1)


async def test_all_clients_hear_the_same_lines() -> None:
    device = emulator()
    port = await device.start()
    links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
    lines = []
    for reader, _ in links:
        await reader.readuntil(b"SN2")  # each its own greeting
        for _ in range(3):
            await reader.readuntil(b"\n")
        lines.append(await asyncio.wait_for(reader.readuntil(b"\n"), 5))
    assert lines[0].startswith(b"GB,")
    assert len(set(lines)) == 1
    assert device.state()["clients"] == 3
    await device.stop()
    await device.stop()
    for reader, writer in links:
        await reader.read()
        assert reader.at_eof()
        writer.close()
        await writer.wait_closed()
    assert threading.active_count() == 1


async def test_a_serial_line_hears_what_the_network_hears_whatever_is_wrong() -> None:
    device = emulator(rate=40)
    port, path = await device.start(), await device.start_pty()
    for fault in ("garble", "half_line", "duplicate", "reorder", "clock_jump"):
        device.fault(fault, on=True)
    line = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await within(2, lambda: device.state()["clients"] == 1)
    for _ in range(7):  # the greeting is the network's alone
        await reader.readline()
    heard = await asyncio.wait_for(reader.readexactly(200), 5)
    typed = bytearray()
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            typed += os.read(line, 4096)
        if heard in typed:
            break
        await asyncio.sleep(0.02)
    os.close(line)
    await device.stop()
    writer.close()
    assert heard in typed


async def test_a_client_that_reads_nothing_is_cut_off_and_the_others_hear_on() -> None:
    device = emulator(rate=1)
    port = await device.start()
    _, sleeper = await asyncio.open_connection("127.0.0.1", port, limit=1)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    assert await within(2, lambda: device.state()["clients"] == 2)
    megabyte = (b"x" * 62 + b"\r\n") * 16_384

    async def drink() -> None:
        while await reader.read(1 << 20):
            pass

    drinking = asyncio.create_task(drink())
    for _ in range(40):
        device._broadcast(megabyte[: 1 << 17])
        await asyncio.sleep(0.005)
        await within(1, lambda: all(c.transport.get_write_buffer_size() == 0 for c in [*device._clients][1:]))
    assert await within(2, lambda: device.state()["clients"] == 1)
    assert not drinking.done()
    await device.stop()
    await drinking
    for link in (sleeper, writer):
        link.close()


async def test_a_pty_that_nobody_reads_stops_nothing() -> None:
    device = emulator()
    path = await device.start_pty()
    assert path.startswith("/dev/")
    for _ in range(50):
        device._broadcast(b"GB,000001,000001,000001,000001\r\n" * 10)
    assert device._running is not None
    assert not device._running.done()
    await device.stop()
