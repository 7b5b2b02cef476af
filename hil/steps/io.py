"""Steps for the I/O board: the lane's own driver against the emulated cabinet beside a virtual lane.

The bench is the owner of the outputs here: it toggles the watchdog coil, and stops when a step asks what
the cabinet does without it. Times of the board run from the moment something is so in the virtual lane
until the reading that says it has arrived.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from drivers.api import CommandRefused, DigitalIo, DriverContext, Role
from drivers.io.modbus.sim import ModbusEmulator
from drivers.plant.vehicle import Scenario, Vehicle
from drivers.plant.world import Plant
from drivers.readings import Inputs
from hil.measure import Strict
from hil.steps.library import Bench, Gives, NoArgs, Put, Step, StepError
from station.runtime.clock import SystemClock

LOOK_S = 0.005
WRITE_LIMIT_S = 1.0
WATCHDOG_S = 0.4
"""How often the bench toggles the watchdog coil."""
WAIT_S = 10.0
"""Longest wait for anything on the bench before a step gives up."""
UNLISTED = "no_such_output"
SLOW = Vehicle(name="bench", plate="BENCH", speed_mps=0.3)
"""A vehicle that stays below the arm for as long as a step needs."""


@dataclass(slots=True)
class Board:
    """Cabinet, driver and what was read last."""

    plant: Plant
    emulator: ModbusEmulator
    driver: DigitalIo
    clock: SystemClock
    coils: dict[str, int]
    inputs: dict[str, bool] = field(default_factory=dict)
    lost: str | None = None
    """Why there are no more readings."""
    heartbeat: bool = True

    async def read(self) -> None:
        """Keep ``inputs`` up to date until the link ends."""
        try:
            async for reading in self.driver.readings():
                if isinstance(reading, Inputs):
                    self.inputs = dict(reading.values)
        except Exception as error:
            self.lost = str(error)

    async def beat(self) -> None:
        """Toggle the watchdog coil while ``heartbeat``."""
        on = False
        while True:
            if self.heartbeat:
                on = not on
                await self.write(watchdog=on)
            await asyncio.sleep(WATCHDOG_S)

    async def write(self, **outputs: bool) -> None:
        """Order outputs through the driver."""
        await self.driver.write(outputs, deadline_s=WRITE_LIMIT_S)

    async def until(self, happened: Callable[[], bool], what: str, limit_s: float = WAIT_S) -> float:
        """Return when ``happened`` became true (monotonic seconds); raises ``StepError``."""
        end_s = self.clock.monotonic_s() + limit_s
        while not happened():
            if self.lost is not None:
                raise StepError(f"the link to the board ended: {self.lost}")
            if self.clock.monotonic_s() > end_s:
                raise StepError(f"{what} was not seen within {limit_s:g} s; {self.inputs} was read last")
            await asyncio.sleep(LOOK_S)
            self.plant.advance()
        return self.clock.monotonic_s()

    async def seen(self, name: str, value: bool) -> float:
        """Return when the driver said so."""
        return await self.until(lambda: self.inputs.get(name) == value, f"input {name} = {value}")

    async def rest(self) -> None:
        """Bring the lane to rest: nothing ordered, no faults, no vehicle, arm down, watchdog beating."""
        for fault in self.emulator.FAULTS:
            self.emulator.fault(fault, on=False)
        self.drive_away()
        self.heartbeat = True
        orders = [name for name in self.coils if name != "watchdog"]
        await self.write(**dict.fromkeys(orders, False))
        await self.seen("barrier_down", True)

    def stand_below_arm(self) -> None:
        """Put a slow vehicle below the arm, beyond the stop line."""
        self.plant.advance()
        self.plant.vehicle, self.plant.speed_mps = SLOW, SLOW.speed_mps
        self.plant.nose_m = self.plant.geometry.barrier_m + 1.0

    def drive_away(self) -> None:
        """Take the vehicle out of the lane."""
        self.plant.vehicle, self.plant.nose_m, self.plant.speed_mps = None, float("-inf"), 0.0


async def open_board(bench: Bench, _: NoArgs, put: Put) -> None:
    """Start the emulated cabinet and open the lane's driver on it."""
    fitted = [device for device in bench.lane_file.devices if device.role == Role.DIGITAL_IO]
    if not fitted or fitted[0].mode != "emulated":
        raise StepError('the lane file has no emulated I/O board; give --lane a file with mode = "emulated"')
    device, clock = fitted[0], SystemClock()
    plant = Plant(bench.lane_file.geometry, Scenario(title="bench", truck=(SLOW,)), clock)
    emulator = ModbusEmulator(device.options, plant, clock, seed=1)
    bench.stack.push_async_callback(emulator.stop)
    options = device.options.model_copy(update={"host": "127.0.0.1", "port": await emulator.start()})
    log = logging.getLogger("carril.hil")
    driver = device.spec.make(options, DriverContext(device.name, clock, log, lambda _way, _data: None))
    identity = await driver.open()
    bench.stack.push_async_callback(driver.close)
    if not isinstance(driver, DigitalIo):
        raise StepError(f"the driver {device.spec.name} cannot set outputs")
    board = Board(plant, emulator, driver, clock, dict(getattr(options, "coils", {})))
    bench.parts[Board] = board
    for work in (board.read(), board.beat()):
        bench.stack.push_async_callback(_end, asyncio.create_task(work))
    await board.rest()
    put("model", identity.model)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


async def toggle_inputs(bench: Bench, _: NoArgs, put: Put) -> None:
    """Change each input both ways; the slower of the two is what counts."""
    board = bench.part(Board)
    plant = board.plant
    await board.rest()
    faults = {f"{loop}_loop": (f"stuck_loop:{loop}_loop", True) for loop in ("entry", "booth", "exit")}
    faults |= {"estop_ok": ("estop", False), "cabinet_closed": ("cabinet_open", False)}
    for name, (fault, becomes) in faults.items():
        slowest_s = 0.0
        for on in (True, False):
            began_s = board.clock.monotonic_s()
            board.emulator.fault(fault, on=on)
            slowest_s = max(slowest_s, await board.seen(name, becomes == on) - began_s)
        put(f"{name}_ms", 1000 * slowest_s)
    began_s = board.clock.monotonic_s()
    board.stand_below_arm()
    slowest_s = await board.seen("obstruction", True) - began_s
    began_s = board.clock.monotonic_s()
    board.drive_away()
    put("obstruction_ms", 1000 * max(slowest_s, await board.seen("obstruction", False) - began_s))
    await board.rest()
    await board.write(raise_permit=True)
    left_s = await _delay(board, lambda: plant.arm > 0, "barrier_down", False)
    up_s = await _delay(board, lambda: plant.arm >= 1, "barrier_up", True)
    await board.write(raise_permit=False)
    put("barrier_up_ms", 1000 * max(up_s, await _delay(board, lambda: plant.arm < 1, "barrier_up", False)))
    down_s = await _delay(board, lambda: plant.arm <= 0, "barrier_down", True)
    put("barrier_down_ms", 1000 * max(left_s, down_s))


async def _delay(board: Board, true: Callable[[], bool], name: str, value: bool) -> float:
    """Return the time from something true of the arm to the input that says so."""
    began_s = await board.until(true, f"the arm's part of {name} = {value}")
    return await board.seen(name, value) - began_s


async def barrier_travel(bench: Bench, _: NoArgs, put: Put) -> None:
    """Raise and lower the arm: time between leaving one end and reaching the other."""
    board = bench.part(Board)
    await board.rest()
    await board.write(raise_permit=True)
    left_s = await board.seen("barrier_down", False)
    put("up_s", await board.seen("barrier_up", True) - left_s)
    await board.write(raise_permit=False)
    left_s = await board.seen("barrier_up", False)
    put("down_s", await board.seen("barrier_down", True) - left_s)


class Obstruction(Strict):
    """For how long a vehicle stands below the arm."""

    stand_s: float = 2.0


async def obstruction(bench: Bench, args: Obstruction, put: Put) -> None:
    """Stand below an arm that wants to come down, then below one that is coming down."""
    board = bench.part(Board)
    await board.rest()
    await board.write(raise_permit=True)
    await board.seen("barrier_up", True)
    board.stand_below_arm()
    await board.seen("obstruction", True)
    await board.write(raise_permit=False)
    put("stays_up", not await _moves(board, lambda: board.plant.arm < 1, args.stand_s))
    board.drive_away()
    await board.until(lambda: board.plant.arm < 0.7, "the arm coming down")
    began_s = board.clock.monotonic_s()
    board.stand_below_arm()
    lowest = board.plant.arm
    while board.plant.arm < 1 and board.clock.monotonic_s() - began_s < WAIT_S:
        await asyncio.sleep(LOOK_S)
        board.plant.advance()
        lowest = min(lowest, board.plant.arm)
    put("reverses_s", await board.seen("barrier_up", True) - began_s)
    put("lowest_share", lowest)


async def _moves(board: Board, moved: Callable[[], bool], for_s: float) -> bool:
    """Whether something happens within a time."""
    try:
        await board.until(moved, "a movement", for_s)
    except StepError:
        if board.lost is not None:
            raise
        return False
    return True


async def stuck(bench: Bench, args: Obstruction, put: Put) -> None:
    """Hold the arm, then a loop: a held arm must not be reported up, a stuck loop must hold the arm up."""
    board = bench.part(Board)
    await board.rest()
    board.emulator.fault("arm_stuck", on=True)
    await board.write(raise_permit=True)
    put("stuck_arm_reported_up", await _moves(board, lambda: board.inputs["barrier_up"], args.stand_s))
    put("stuck_arm_reported_down", board.inputs["barrier_down"])
    board.emulator.fault("arm_stuck", on=False)
    await board.seen("barrier_up", True)
    board.emulator.fault("stuck_loop:exit_loop", on=True)
    await board.seen("exit_loop", True)
    await board.write(raise_permit=False)
    put("stuck_loop_holds_arm", not await _moves(board, lambda: board.plant.arm < 1, args.stand_s))
    board.emulator.fault("stuck_loop:exit_loop", on=False)
    await board.seen("barrier_down", True)


async def watchdog(bench: Bench, _: NoArgs, put: Put) -> None:
    """Fall silent with the arm ordered up: the cabinet alone must drop every output and lower the arm."""
    board = bench.part(Board)
    await board.rest()
    orders = [name for name in board.coils if name != "watchdog"]
    await board.write(**dict.fromkeys(orders, True))
    await board.seen("barrier_up", True)
    count = len(board.emulator.writes)
    await board.until(lambda: len(board.emulator.writes) > count, "a toggle of the watchdog coil")
    board.heartbeat = False
    began_s, written = board.emulator.writes[-1].at_s, len(board.emulator.writes)
    held = board.emulator.state()["coils"]
    put("outputs_held_before", all(held[name] for name in orders))
    try:
        dropped_s = await board.until(
            lambda: not any(board.emulator.state()["coils"].values()), "every output dropped"
        )
        put("dropped_s", dropped_s - began_s)
        put("writes_in_between", len(board.emulator.writes) - written)
        await board.seen("barrier_down", True)
        put("arm_down", board.inputs["barrier_down"])
    finally:
        board.heartbeat = True


async def writes(bench: Bench, _: NoArgs, put: Put) -> None:
    """Order an output that is not listed, then look at every write of the run on the wire."""
    board = bench.part(Board)
    try:
        await board.write(**{UNLISTED: True})
    except CommandRefused:
        put("unlisted_refused", True)
    else:
        put("unlisted_refused", False)
    listed = set(board.coils.values())
    seen = [range(one.address, one.address + len(one.bits)) for one in board.emulator.writes]
    put("writes", len(seen))
    put("unlisted_writes", sum(not listed.issuperset(span) for span in seen))


async def safe_state(bench: Bench, _: NoArgs, put: Put) -> None:
    """Leave the lane at rest with every output off."""
    if Board in bench.parts:
        await bench.part(Board).rest()


_SLOW = "The board is polled too seldom, or its link is slow"
_POLL = "lower poll_s of the board in the lane file, and look at its link"
_EYE = "The photo-eye does not reach the barrier's controller, or its logic ignores it"
_ARM = "Take the lane out of service; check photo-eye, safety edge and the controller's program"
_INPUTS = ("entry_loop", "booth_loop", "exit_loop", "barrier_up", "barrier_down", "obstruction", "estop_ok",
           "cabinet_closed")  # fmt: skip
_TRAVEL = Gives(
    "s", "Barrier drive, springs or end switches", "Look at the arm moving and at its end switches"
)

STEPS = {
    "io.open": Step(
        NoArgs, {"model": Gives("1", "Another board", "Compare it with the lane file")}, open_board
    ),
    "io.inputs": Step(NoArgs, {f"{name}_ms": Gives("ms", _SLOW, _POLL) for name in _INPUTS}, toggle_inputs),
    "io.barrier_travel": Step(NoArgs, {"up_s": _TRAVEL, "down_s": _TRAVEL}, barrier_travel),
    "io.obstruction": Step(
        Obstruction,
        {
            "stays_up": Gives("1", _EYE, _ARM),
            "reverses_s": Gives("s", _EYE, _ARM),
            "lowest_share": Gives("1", "The controller reverses too late", _ARM),
        },
        obstruction,
    ),
    "io.stuck": Step(
        Obstruction,
        {
            "stuck_arm_reported_up": Gives(
                "1", "The upper end switch is closed for ever", "Check the switch"
            ),
            "stuck_arm_reported_down": Gives("1", "The arm moved although it was held", "Look at the arm"),
            "stuck_loop_holds_arm": Gives("1", "The controller ignores the exit loop", _ARM),
        },
        stuck,
    ),
    "io.watchdog": Step(
        NoArgs,
        {
            "outputs_held_before": Gives("1", "The board does not hold outputs", "Check the coil map"),
            "dropped_s": Gives(
                "s", "The cabinet's own watchdog is off or set wrong", "Set it in the controller"
            ),
            "writes_in_between": Gives("1", "Something else writes to the board", "Find the other master"),
            "arm_down": Gives("1", "The arm stays up without orders", _ARM),
        },
        watchdog,
    ),
    "io.writes": Step(
        NoArgs,
        {
            "unlisted_refused": Gives(
                "1", "The driver lets unlisted outputs through", "Do not use this driver"
            ),
            "writes": Gives("1", "The write log is empty or was cut", "Run the plan alone on the board"),
            "unlisted_writes": Gives(
                "1", "A coil that is not in the map was written", "Compare the coil map"
            ),
        },
        writes,
    ),
    "io.safe_state": Step(NoArgs, {}, safe_state),
}
