"""An older database gets the tables and columns that it lacks: additive, in one transaction, nothing else.

The tables of ``schema`` are the only definition, so a migration is what they have more than the file has. A
new column must have a default. Killed in the middle, the file is as it was.
"""

from __future__ import annotations

import sqlite3

from sqlalchemy.schema import CreateColumn, CreateIndex

from station.store import schema
from station.store.crashpoint import crashpoint


def migrate(connection: sqlite3.Connection) -> None:
    """Bring an older database up to this schema; raises ``sqlite3.Error``, and nothing has changed then."""
    (found,) = connection.execute("SELECT schema FROM store").fetchone()
    if found == schema.SCHEMA:
        return
    connection.execute("BEGIN IMMEDIATE")
    crashpoint("migrate_begun")
    for table in schema.tables():
        known = {row[1] for row in connection.execute(f"PRAGMA table_info({table.name})")}
        if not known:
            for statement in schema.create_statements(table.name):
                connection.execute(statement)
        for column in table.columns if known else ():
            if column.name not in known:
                definition = schema.compiled(CreateColumn(column))
                connection.execute(f"ALTER TABLE {table.name} ADD COLUMN {definition}")
    present = {row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'index'")}
    for table in schema.tables():
        for index in table.indexes:
            if index.name not in present:
                connection.execute(schema.compiled(CreateIndex(index)))
    connection.execute("UPDATE store SET schema = ?", (schema.SCHEMA,))
    crashpoint("migrate_changed")
    connection.execute("COMMIT")
    crashpoint("migrate_done")
