"""``carril bundle``: records, blobs and signed heads carried without a network, and the receipt back."""

from __future__ import annotations

import argparse
import http.client
import json
import sqlite3
from pathlib import Path
from typing import Any
from urllib.parse import quote

from station.cli.arguments import port
from station.cli.errors import UserError
from station.cli.loopback import Refused, call
from station.cli.state import likely_state, state_folder
from station.cli.status import ask
from station.cli.verify import text_of

HIGHEST_SEQ = 2**53 - 1


def register(subparsers: Any) -> None:
    """Add the sub-command and what is done with a bundle elsewhere."""
    parser = subparsers.add_parser(
        "bundle", help="carry records and blobs without a network, with their proof"
    )
    parser.add_argument(
        "--since", type=seq, metavar="SEQ", help="the last record that the receiver has; 0: none"
    )
    parser.add_argument("--to", type=Path, metavar="DIR", help="a new or empty folder")
    parser.add_argument(
        "--state", type=state_folder, metavar="DIR", help="state folder (.state, else that of `run`)"
    )
    parser.set_defaults(command=_make)
    actions = parser.add_subparsers(metavar="ACTION", title="with a bundle that is there")
    proof = actions.add_parser("verify", help="prove a bundle, also far from its station")
    proof.add_argument("folder", type=Path, metavar="DIR", help="the bundle")
    proof.add_argument("--key", type=Path, metavar="FILE", help="the station's public key, from elsewhere")
    proof.set_defaults(command=_verify)
    receipt = actions.add_parser("receipt", help="acknowledge what a bundle held at the running station")
    receipt.add_argument("file", type=Path, metavar="FILE", help="receipt.json, in the folder of its bundle")
    receipt.add_argument("--name", required=True, metavar="NAME", help="the consumer that received it")
    receipt.add_argument("--port", type=port, default=8080, help="port of the station (%(default)s)")
    receipt.set_defaults(command=_receipt)


def seq(text: str) -> int:
    """Return a sequence number."""
    if not text.isdecimal() or int(text) > HIGHEST_SEQ:
        raise argparse.ArgumentTypeError(f"{text}: the number of a record, or 0")
    return int(text)


def _make(arguments: argparse.Namespace) -> int:
    from station.store.bundle import BundleError, write_bundle  # a database layer: only when it is needed

    if arguments.since is None or arguments.to is None:
        raise UserError("a bundle needs --since SEQ and --to DIR; or say `carril bundle verify DIR`")
    state = arguments.state or likely_state()
    try:
        bundle = write_bundle(state, arguments.since, arguments.to)
    except BundleError as error:
        raise UserError(str(error)) from error
    except OSError as error:
        raise UserError(f"no bundle was made: {error.filename or arguments.to}: {error.strerror}") from error
    except (sqlite3.Error, TypeError, ValueError) as error:
        raise UserError(f"no bundle was made: the journal in {state} cannot be read ({error})") from error
    print(f"{arguments.to}: records {bundle.after + 1} to {bundle.last}, {_blobs(bundle)}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from station.store.bundle import HEADS, MANIFEST, RECORDS, BundleError
    from station.store.bundle_proof import verify_bundle, write_receipt
    from station.store.heads import told_head

    folder = arguments.folder
    if not any((folder / name).exists() for name in (MANIFEST, RECORDS, HEADS)):
        raise UserError(f"{folder} holds no bundle; give the folder that carril bundle wrote")
    keys = text_of(arguments.key) if arguments.key else None
    try:
        bundle = verify_bundle(folder, keys)
        receipt = write_receipt(folder, bundle)
    except BundleError as error:
        print(f"{folder}: {error}")
        print("something is wrong: take the bundle for nothing, and keep it as it is")
        return 1
    except OSError as error:
        raise UserError(f"{error.filename or folder} cannot be used ({error.strerror})") from error
    head = told_head(bundle.note)
    print(f"station {bundle.station}, epoch {bundle.epoch}")
    print(f"  records {bundle.after + 1} to {bundle.last}, none missing, none changed")
    print(f"  they follow hash  {bundle.prev}")
    print(f"  the last has hash {bundle.hash}")
    print(f"  signed {head.time}, clock {head.clock}" + ("" if keys else ", with the key that came with it"))
    print(f"  {_blobs(bundle)}, each as its record names it")
    if not keys:
        print("whose key that is, it cannot prove: compare head.pub, or give the right one with --key")
    print(f"receipt: {receipt}")
    print("nothing is wrong")
    return 0


def _blobs(bundle: Any) -> str:
    blobs = bundle.blobs
    text = f"{len(blobs)} blobs ({sum(blobs.values()) / 1e6:,.1f} MB)"
    return text + (f", {len(bundle.missing)} more the station no longer had" if bundle.missing else "")


def _receipt(arguments: argparse.Namespace) -> int:
    from station.store.bundle import BundleError
    from station.store.bundle_proof import read_receipt

    try:
        bundle = read_receipt(arguments.file)
    except BundleError as error:
        raise UserError(f"{arguments.file}: {error}") from error
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror})") from error
    consumer = f"/v1/consumers/{quote(arguments.name, safe='')}"
    index, cursor = ask(arguments.port, "/v1"), ask(arguments.port, consumer)
    if (index["station"], index["epoch"]) != (bundle.station, bundle.epoch):
        raise UserError(
            f"the receipt is for station {bundle.station}, epoch {bundle.epoch}; here is {index['station']}, "
            f"epoch {index['epoch']}: nothing was acknowledged"
        )
    if cursor["acked"] < bundle.after:
        raise UserError(
            f"the bundle begins after record {bundle.after}, but {arguments.name} has only those up to "
            f"{cursor['acked']}: nothing was acknowledged; make a bundle --since {cursor['acked']}"
        )
    try:
        acked = _acknowledge(arguments.port, arguments.name, consumer, bundle, cursor["acked"])
    except Refused as error:
        raise UserError(f"the station refuses the receipt: {error.detail or error}") from error
    except OSError as error:
        raise UserError(f"the station no longer answers ({error}); give the receipt again") from error
    print(f"{arguments.name} has acknowledged record {acked}, {len(bundle.blobs)} blobs received")
    return 0


def _acknowledge(port: int, name: str, consumer: str, bundle: Any, acked: int) -> int:
    """Send the receipts of the blobs, then the acknowledgement; return where the cursor stands."""
    if acked < bundle.last:
        page = json.loads(call(port, "GET", f"/v1/feed?after={bundle.last - 1}&epoch={bundle.epoch}&limit=1"))
        if not page["items"] or page["items"][0]["hash"] != bundle.hash:
            raise UserError(
                f"record {bundle.last} of this station is not the one that the bundle held: nothing was "
                "acknowledged; `carril verify` says more"
            )
    for digest, size in bundle.blobs.items():
        body = {"consumer": name, "bytes": size, "verified": True}
        try:
            call(port, "POST", f"/v1/blobs/{digest}/receipt", body)
        except Refused as error:
            if error.status != http.client.NOT_FOUND:  # then it was received and removed before
                raise
    moved = json.loads(call(port, "POST", f"{consumer}/ack", {"epoch": bundle.epoch, "seq": bundle.last}))
    return int(moved["acked"])
