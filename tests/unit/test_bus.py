"""A slow screen loses its place and is told so; the lane waits for nobody."""

from __future__ import annotations

import asyncio

import pytest

from station.runtime.bus import MOST_SUBSCRIBERS, RESET, Bus, BusFull, Message, Subscription


def messages(*numbers: int) -> list[Message]:
    return [Message("record", {"n": n}, f"epoch:{n}") for n in numbers]


async def take(subscription: Subscription, count: int, heartbeat_s: float = 5.0) -> list[Message | None]:
    """The next messages of a subscription."""
    stop = asyncio.Event()
    taken: list[Message | None] = []
    async for message in subscription.until(stop, heartbeat_s):
        taken.append(message)
        if len(taken) == count:
            stop.set()
    return taken


async def test_every_subscriber_gets_every_message_in_order() -> None:
    bus = Bus()
    with bus.subscribe() as first, bus.subscribe() as second:
        for message in messages(1, 2, 3):
            bus.publish(message)
        assert await take(first, 3) == messages(1, 2, 3)
        assert await take(second, 3) == messages(1, 2, 3)


async def test_what_comes_while_nobody_reads_waits() -> None:
    bus = Bus()
    with bus.subscribe() as subscription:
        waiting = asyncio.create_task(take(subscription, 2))
        await asyncio.sleep(0)
        bus.publish(messages(1)[0])
        await asyncio.sleep(0)
        bus.publish(messages(2)[0])
        assert await waiting == messages(1, 2)


async def test_a_subscriber_that_is_too_slow_gets_reset_and_then_what_is_new() -> None:
    bus = Bus()
    with bus.subscribe(maxsize=4) as slow, bus.subscribe(maxsize=16) as fast:
        for message in messages(*range(1, 7)):
            bus.publish(message)
        assert await take(slow, 3) == [RESET, *messages(5, 6)]
        assert await take(fast, 6) == messages(*range(1, 7))


async def test_nothing_grows_without_bound() -> None:
    bus = Bus()
    with bus.subscribe(maxsize=8) as subscription:
        for message in messages(*range(10_000)):
            bus.publish(message)
        taken = await take(subscription, 3, heartbeat_s=0.01)
        assert taken[0] == RESET
        assert len(subscription._waiting) < 8


async def test_screens_that_never_read_cost_the_others_nothing() -> None:
    bus = Bus()
    stuck = [bus.subscribe() for _ in range(MOST_SUBSCRIBERS - 1)]
    with bus.subscribe() as subscription:
        reading = asyncio.create_task(take(subscription, 2_000))
        for message in messages(*range(2_000)):
            bus.publish(message)
            if int(message.data["n"]) % 100 == 0:
                await asyncio.sleep(0.001)
        assert await reading == messages(*range(2_000)), "one that reads misses nothing"
    assert max(len(each._waiting) for each in stuck) <= 256


async def test_silence_is_a_heartbeat() -> None:
    with Bus().subscribe() as subscription:
        assert await take(subscription, 2, heartbeat_s=0.001) == [None, None]


async def test_stop_ends_a_waiting_stream_at_once() -> None:
    stop = asyncio.Event()
    with Bus().subscribe() as subscription:
        stream = asyncio.create_task(anext(aiter(subscription.until(stop, 60.0)), "ended"))
        await asyncio.sleep(0)
        stop.set()
        assert await asyncio.wait_for(stream, 5) == "ended"


async def test_who_leaves_is_forgotten() -> None:
    bus = Bus()
    with bus.subscribe():
        assert len(bus) == 1
    assert len(bus) == 0
    bus.publish(messages(1)[0])


async def test_there_is_room_for_so_many_and_no_more() -> None:
    bus = Bus()
    for _ in range(MOST_SUBSCRIBERS):
        bus.subscribe()
    with pytest.raises(BusFull, match="64 are watching already"):
        bus.subscribe()
