"""A stopped station to make bundles of, and what a bundle is made of."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from station.store.draft import BlobRef, Draft
from tests.support.journal import draft, open_small

LAST = 12
PHOTO = bytes(range(256)) * 5000  # more than one MiB


def with_photos(record: Draft, *digests: str) -> Draft:
    """A record that names blobs, as the lane's records do."""
    uses = [{"role": "photo", "sha256": digest, "media": "image/jpeg"} for digest in digests]
    refs = tuple(BlobRef("photo", digest) for digest in digests)
    return dataclasses.replace(record, data=dict(record.data) | {"blobs": uses}, blobs=refs)


def bundled_station(state: Path) -> Path:
    """Make one: 12 records, two blobs, and signed heads of 6 and 12."""
    for _ in range(2):
        store = open_small(state)
        for n in range(5):
            store.append_soon([draft(n=n, text='say "Olé" \\ \n')]).result(10)
        digest = store.keep_blob(PHOTO + bytes([store.published]), "image/jpeg")
        store.append_soon([with_photos(draft(), digest)]).result(10)
        store.close()
    return state
