"""Names and bits of a Modbus board: which address is what, and what a lane file may say about it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from drivers.io.modbus.codec import COILS, INPUTS, Block, blocks, decode, nearest
from drivers.io.modbus.driver import ModbusIoOptions


def test_the_map_of_the_lane_is_one_block_each_way() -> None:
    assert blocks(COILS) == (
        Block(0, ("green", "raise_permit", "secondary_lamp", "horn", "beacon", "watchdog", "entry_green")),
    )
    assert [block.address for block in blocks(INPUTS)] == [0]


def test_only_the_listed_addresses_are_in_a_block() -> None:
    assert blocks({"green": 9, "horn": 4, "beacon": 5, "watchdog": 11}) == (
        Block(4, ("horn", "beacon")),
        Block(9, ("green",)),
        Block(11, ("watchdog",)),
    )
    assert blocks({}) == ()


def test_bits_become_names_in_order_of_address() -> None:
    block = Block(3, ("barrier_up", "barrier_down"))
    assert decode(block, [1, 0]) == {"barrier_up": True, "barrier_down": False}


def test_a_normally_closed_contact_says_the_contrary() -> None:
    block = Block(5, ("obstruction", "estop_ok"))
    assert decode(block, [0, 0], ["obstruction"]) == {"obstruction": True, "estop_ok": False}
    assert decode(block, [1, 1], ["obstruction"]) == {"obstruction": False, "estop_ok": True}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"coils": {"gren": 0}}, "coil 'gren' is unknown; did you mean green?"),
        ({"coils": {"xyz": 0}}, "allowed are green, raise_permit, secondary_lamp"),
        ({"coils": {"green": 0, "horn": 0}}, "coil horn and green share address 0: give each its own."),
        ({"coils": {"green": 65_536}}, "coil green = 65536: an address lies between 0 and 65535."),
        ({"inputs": {"estop": 6}}, "input 'estop' is unknown; did you mean estop_ok?"),
        ({"inputs": {"exit_loop": -1}}, "input exit_loop = -1: an address lies between 0 and 65535."),
        ({"inputs": {}}, "at least 1 item"),
        ({"inputs": {"entry_loop": True}}, "valid integer"),
        (
            {"normally_closed": ["obstrution"]},
            "normally_closed 'obstrution' is unknown; did you mean obstruc",
        ),
        ({"unit_id": 256}, "less than or equal to 255"),
        ({"unit": 1}, "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_map_is_refused_with_the_place_and_the_nearest_name(
    wrong: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValidationError, match=sentence.replace("?", r"\?")):
        ModbusIoOptions.model_validate(wrong)


def test_a_normally_closed_input_must_be_one_of_this_board() -> None:
    with pytest.raises(ValidationError, match="'obstruction' is unknown; allowed are entry_loop"):
        ModbusIoOptions.model_validate({"inputs": {"entry_loop": 0}, "normally_closed": ["obstruction"]})


def test_the_nearest_name_is_only_offered_when_it_is_near() -> None:
    assert nearest("Horn", COILS) == "did you mean horn?"
    assert nearest("q", ["green", "horn"]) == "allowed are green, horn."
