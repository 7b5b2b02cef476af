"""The journal's tables, and every SQL text of the writer, compiled once from them.

All tables are STRICT: a wrong type is refused instead of being stored as something else. There is no
AUTOINCREMENT (``head`` already prevents reuse) and no unique index on random values (trimming would pay
for it). ``SCHEMA`` changes only by additive migration (``station.store.migrate``); a database with a higher
number is never opened. SQL of a single job stands beside that job, compiled from these tables.
"""

from __future__ import annotations

import re
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    Table,
    Text,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.schema import CreateIndex, CreateTable
from sqlalchemy.sql import ClauseElement

SCHEMA = 4
SEARCH = 2
"""Version of the search index; another one in the database means: rebuild it from the journal."""

PAGE_BYTES = 8192
IDEM_KEPT = 10_000

_metadata = MetaData()


def _table(name: str, *columns: Column[int] | Column[bytes] | Column[str], rowid: bool = True) -> Table:
    return Table(name, _metadata, *columns, sqlite_strict=True, sqlite_with_rowid=rowid)


def _int(name: str, *, key: bool = False, null: bool = False) -> Column[int]:
    return Column(name, Integer, primary_key=key, nullable=null)


def _text(name: str, *, key: bool = False, null: bool = False) -> Column[str]:
    return Column(name, Text, primary_key=key, nullable=null)


def _blob(name: str, *, key: bool = False, null: bool = False) -> Column[bytes]:
    return Column(name, LargeBinary, primary_key=key, nullable=null)


# One row: who writes here, and what came before.
store = _table(
    "store",
    _text("station"),
    _blob("epoch"),
    _int("first_seq"),
    _blob("prev_epoch", null=True),
    _int("prev_last", null=True),
    _blob("prev_hash", null=True),
    _int("schema"),
    _int("search"),
    _int("created_us"),
)
# type, prio, subject and flags stand in the body too and are checked against it.
record = _table(
    "record",
    _int("seq", key=True),
    _text("type"),
    _int("prio"),
    _text("subject"),
    _int("time_us"),
    _int("flags"),
    _text("body"),
    _blob("prev"),
    _blob("hash"),
)
Index("record_subject", record.c.subject, record.c.seq)
Index("record_alarm", record.c.seq, sqlite_where=record.c.prio == 0)
# One row: the last record, and the last one that was trimmed (or first_seq - 1).
head = _table("head", _int("seq"), _blob("hash"), _int("anchor_seq"), _blob("anchor_hash"))
blob = _table(
    "blob",
    _blob("sha256", key=True),
    _int("bytes"),
    _text("media"),
    _blob("chunks"),
    _int("state"),
    rowid=False,
)
record_blob = _table(
    "record_blob",
    Column("seq", Integer, ForeignKey("record.seq", ondelete="CASCADE"), primary_key=True),
    _text("role", key=True),
    Column("sha256", LargeBinary, ForeignKey("blob.sha256"), primary_key=True),  # one role, many photos
    rowid=False,
)
Index("record_blob_named", record_blob.c.sha256, record_blob.c.seq)
consumer = _table(
    "consumer",
    _text("name", key=True),
    _int("acked_seq"),
    _int("acked_us"),
    _int("required"),
    Column("blobs", Integer, nullable=False, server_default="0"),  # it sends a receipt for each blob
    rowid=False,
)
# A record that a consumer refused: kept, and offered again, until the offer is acknowledged.
nack = _table(
    "nack",
    _text("consumer", key=True),
    _int("seq", key=True),
    _text("reason"),
    _int("tries"),
    _int("offered_seq", null=True),  # where it was offered last
    rowid=False,
)
blob_receipt = _table(
    "blob_receipt", _text("consumer", key=True), _blob("sha256", key=True), _int("at_us"), rowid=False
)
signed_head = _table("signed_head", _int("seq", key=True), _text("note"))
# How far the records of a journal in quarantine have been taken over.
salvage = _table(
    "salvage", _text("dir", key=True), _int("next_seq"), _int("salvaged"), _int("done"), rowid=False
)
# The newest version of each directive; its history is in the records. A closed one has no body any more: its
# version stays known until ``until_us``, when none of its versions could come to life again.
directive = _table(
    "directive",
    _text("id", key=True),
    _text("kind"),
    _int("version"),
    _text("state"),
    _int("valid_from_us", null=True),
    _int("valid_to_us", null=True),
    _blob("sha256"),
    _text("body"),
    _int("seq"),
    _int("until_us", null=True),
    _text("issuer", null=True),
    rowid=False,
)
OF_DIRECTIVE = """(record.type GLOB 'carril.directive.*'
    OR instr(record.body, '"type":"carril.directive.') > 0)"""
"""Whether a record tells of a directive, itself or in a wrapper: its id may be another's subject."""
DIRECTIVE_OPEN = func.length(directive.c.body) > 0
Index("directive_open", directive.c.id, sqlite_where=DIRECTIVE_OPEN)
Index("directive_over", directive.c.until_us, sqlite_where=func.length(directive.c.body) == 0)
legal_hold = _table("legal_hold", _text("subject", key=True), _text("directive", key=True), rowid=False)
Index("legal_hold_directive", legal_hold.c.directive)
open_subject = _table(
    "open_subject", _text("subject", key=True), _int("first_seq"), _int("tries"), rowid=False
)
idem = _table(
    "idem",
    _text("client", key=True),
    _text("key", key=True),
    _int("ord"),
    _blob("request_sha256"),
    _int("status"),
    _text("response"),
    rowid=False,
)
Index("idem_ord", idem.c.ord)
# The search index: what each inspection's records say last. Never evidence, always rebuildable.
inspection = _table(
    "inspection",
    _text("id", key=True),
    _int("first_seq"),
    _int("last_seq"),
    _text("state"),
    _text("plate"),
    _text("container"),
    _int("flags"),
    Column("declared", Text, nullable=False, server_default=""),  # what a manifest names, a space between two
    rowid=False,
)
Index("inspection_first", inspection.c.first_seq)
# What an inspection is found by, in the form in which it is compared.
search_key = _table(
    "search_key",
    Column("id", Text, ForeignKey("inspection.id", ondelete="CASCADE"), primary_key=True),
    _text("kind", key=True),
    _text("key", key=True),
    _int("first_seq"),
    rowid=False,
)
Index("search_key_found", search_key.c.kind, search_key.c.key, search_key.c.first_seq)


def cursor_values(consumer: tuple[str, bool, bool], acked_seq: int) -> dict[str, object]:
    """Return the row of a new consumer (name, required, takes blobs) for ``ADD_CONSUMER``."""
    name, required, blobs = consumer
    flags = {"required": int(required), "blobs": int(blobs)}
    return {"name": name, "acked_seq": acked_seq, "acked_us": 0, **flags}


def compiled(statement: ClauseElement) -> str:
    """Return the SQLite text of ``statement``: ``:name`` parameters, constants as literals."""
    done = statement.compile(dialect=sqlite.dialect(paramstyle="named"))
    text = str(done)
    for name, value in (done.params or {}).items():  # a CREATE has none
        if value is not None:
            text = re.sub(rf":{name}\b", str(int(value)), text)
    return text


def tables() -> list[Table]:
    """Return all tables, those that others refer to first."""
    return _metadata.sorted_tables


def create_statements(*names: str) -> list[str]:
    """Return the SQL that makes an empty journal, or the named tables of it."""
    tables = [table for table in _metadata.sorted_tables if not names or table.name in names]
    made = [compiled(CreateTable(table)) for table in tables]
    return made + [compiled(CreateIndex(index)) for table in tables for index in table.indexes]


ADD_STORE = compiled(insert(store))
GET_STORE = compiled(select(store))
SET_SEARCH = compiled(update(store).values(search=bindparam("search")))
ADD_HEAD = compiled(insert(head))
GET_HEAD = compiled(select(head))
SET_HEAD = compiled(update(head).values(seq=bindparam("seq"), hash=bindparam("hash")))

ADD_RECORD = compiled(insert(record))
ADD_RECORD_BLOB = compiled(insert(record_blob))
GET_RECORD = compiled(select(record).where(record.c.seq == bindparam("seq")))
MAX_SEQ = compiled(select(func.max(record.c.seq)))
_after = (
    select(record)
    .where(record.c.seq > bindparam("after"), record.c.seq <= bindparam("upto"))
    .order_by(record.c.seq)
    .limit(bindparam("count"))
)
RECORDS_AFTER = compiled(_after)
ALARMS_AFTER = compiled(_after.where(record.c.prio == 0))
RECORDS_OF = compiled(
    select(record)
    .where(record.c.subject == bindparam("subject"), record.c.seq <= bindparam("upto"))
    .order_by(record.c.seq)
)

_new_blob = upsert(blob)
ADD_BLOB = compiled(
    _new_blob.on_conflict_do_update(  # one that was removed is there again
        index_elements=["sha256"],
        set_={"state": 0},
        where=(blob.c.state != 0) & (_new_blob.excluded.state == 0),
    )
)
BLOB_BYTES = compiled(select(func.coalesce(func.sum(blob.c.bytes), 0)).where(blob.c.state == 0))
GET_BLOB = compiled(select(blob).where(blob.c.sha256 == bindparam("sha256")))

_new_consumer = upsert(consumer)
ADD_CONSUMER = compiled(
    _new_consumer.on_conflict_do_update(
        index_elements=["name"],
        # A configuration may make a consumer required, never the reverse; the same with its blobs. It lacks
        # then what was removed before: its cursor says so.
        set_={
            name: func.max(consumer.c[name], _new_consumer.excluded[name])
            for name in ("required", "blobs", "acked_seq")
        },
    )
)
GET_CONSUMERS = compiled(select(consumer).order_by(consumer.c.name))
SET_ACKED = compiled(
    update(consumer)
    .where(consumer.c.name == bindparam("who"), consumer.c.acked_seq < bindparam("seq"))
    .values(acked_seq=bindparam("seq"), acked_us=bindparam("now_us"))
)

OPEN_SUBJECT = compiled(upsert(open_subject).on_conflict_do_nothing())
SEAL_SUBJECT = compiled(delete(open_subject).where(open_subject.c.subject == bindparam("subject")))
GET_OPEN_SUBJECTS = compiled(select(open_subject).order_by(open_subject.c.first_seq))
COUNT_TRIES = compiled(update(open_subject).values(tries=open_subject.c.tries + 1))
RESET_TRIES = compiled(update(open_subject).values(tries=0))

ADD_IDEM = compiled(insert(idem))
GET_IDEM = compiled(select(idem).where(idem.c.client == bindparam("client"), idem.c.key == bindparam("key")))
_idem_ord = select(idem.c.ord).order_by(idem.c.ord.desc())
TRIM_IDEM = compiled(delete(idem).where(idem.c.ord <= _idem_ord.limit(1).offset(IDEM_KEPT).scalar_subquery()))

GET_INSPECTION = compiled(select(inspection).where(inspection.c.id == bindparam("id")))
_new_inspection = upsert(inspection)
PUT_INSPECTION = compiled(
    _new_inspection.on_conflict_do_update(
        index_elements=["id"],
        set_={
            name: _new_inspection.excluded[name]
            for name in ("last_seq", "state", "plate", "container", "flags", "declared")
        },
    )
)
ADD_KEY = compiled(insert(search_key))
REMOVE_KEYS = compiled(delete(search_key).where(search_key.c.id == bindparam("id")))
_newest = select(inspection).limit(bindparam("count"))
_all = _newest.where(inspection.c.first_seq < bindparam("before")).order_by(inspection.c.first_seq.desc())


def _found(kind: str) -> Select[Any]:
    """Return the newest inspections with a key of this kind."""
    mine = (search_key.c.kind == literal_column(f"'{kind}'")) & (search_key.c.key == bindparam(kind))
    joined = _newest.join(search_key, search_key.c.id == inspection.c.id).where(mine)
    return joined.where(search_key.c.first_seq < bindparam("before")).order_by(search_key.c.first_seq.desc())


_other = search_key.alias("other")
_by_container_too = exists().where(
    _other.c.id == inspection.c.id,
    _other.c.kind == literal_column("'container'"),
    _other.c.key == bindparam("container"),
)
FIND_INSPECTIONS = {
    (False, False): compiled(_all),
    (True, False): compiled(_found("plate")),
    (False, True): compiled(_found("container")),
    (True, True): compiled(_found("plate").where(_by_container_too)),
}
"""By whether a plate and whether a container is given."""
