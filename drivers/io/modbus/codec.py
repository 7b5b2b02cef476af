"""Between the bits of a Modbus board and the names of its coils and inputs: a pure map.

Coils are outputs (function codes 1, 5, 15), inputs are discrete inputs (function code 2); both are bits
with addresses 0 to 65,535. [MODBUS Application Protocol Specification V1.1b3, 2012, section 6]
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

HIGHEST_ADDRESS = 65_535

COILS: Mapping[str, int] = {
    "green": 0,
    "raise_permit": 1,
    "secondary_lamp": 2,
    "horn": 3,
    "beacon": 4,
    "watchdog": 5,
    "entry_green": 6,
}
INPUTS: Mapping[str, int] = {
    "entry_loop": 0,
    "booth_loop": 1,
    "exit_loop": 2,
    "barrier_up": 3,
    "barrier_down": 4,
    "obstruction": 5,
    "estop_ok": 6,
    "cabinet_closed": 7,
}


@dataclass(frozen=True, slots=True)
class Block:
    """Names at consecutive addresses: what one request reads or writes."""

    address: int
    names: tuple[str, ...]


def nearest(name: str, known: Collection[str]) -> str:
    """Return a half sentence that leads from a wrong name to the right one."""
    close = get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed are {', '.join(known)}."


def check_names(what: str, names: Collection[str], known: Collection[str]) -> None:
    """Raise ``ValueError`` with a sentence for the first name that is not ``known``."""
    for name in names:
        if name not in known:
            raise ValueError(f"{what} {name!r} is unknown; {nearest(name, known)}")


def check_map(what: str, addresses: Mapping[str, int], known: Collection[str]) -> None:
    """Raise ``ValueError`` with a sentence unless every name is known and has an address of its own."""
    check_names(what, addresses, known)
    owner: dict[int, str] = {}
    for name, address in addresses.items():
        if not 0 <= address <= HIGHEST_ADDRESS:
            raise ValueError(f"{what} {name} = {address}: an address lies between 0 and {HIGHEST_ADDRESS}.")
        if address in owner:
            raise ValueError(
                f"{what} {name} and {owner[address]} share address {address}: give each its own."
            )
        owner[address] = name


def blocks(addresses: Mapping[str, int]) -> tuple[Block, ...]:
    """Return the fewest blocks that hold exactly these addresses, in order of address."""
    found: list[Block] = []
    for name, address in sorted(addresses.items(), key=lambda item: item[1]):
        last = found[-1] if found else None
        if last and address == last.address + len(last.names):
            found[-1] = Block(last.address, (*last.names, name))
        else:
            found.append(Block(address, (name,)))
    return tuple(found)


def decode(block: Block, bits: Sequence[int], normally_closed: Collection[str] = ()) -> dict[str, bool]:
    """Return the inputs of ``block`` by name, from one bit for each of them.

    A normally-closed input is the contrary of its bit, so that the value always says whether what the
    name says is so.
    """
    return {name: bool(bit) != (name in normally_closed) for name, bit in zip(block.names, bits, strict=True)}
