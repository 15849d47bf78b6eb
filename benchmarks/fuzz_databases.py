"""Changes to the values and the layout of SQLite and RocksDB databases, made by their libraries."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from fuzz_mutations import EXTREMES, change_bytes
from fuzz_values import NUMBERS, TEXTS

Others = list[dict[str, bytes]]
MAGIC = b"SQLite format 3\0"
_ENDLESS = "WITH RECURSIVE r(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM r) SELECT * FROM r"
_KINDS = {b"\x00", b"\x01", b"\x02", b"\x03", b"\x04", b"\x05", b"\x06", b"\x07"}  # Aim's


def changed_database(content: bytes, rng: random.Random, _others: Others) -> bytes:
    """Change rows, columns, or the pages themselves."""
    content = content[:18] + b"\1\1" + content[20:]  # in memory there is no write-ahead log
    if rng.random() < 0.3:
        return _changed_pages(content, rng)
    if rng.random() < 0.5:
        content = _without_constraints(content)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        connection.execute("PRAGMA ignore_check_constraints = ON")
        for _ in range(rng.choice((1, 1, 2, 5))):
            with suppress(sqlite3.Error):
                rng.choice(SQL_WAYS)(connection, rng)
        connection.commit()
        return connection.serialize()


def with_log(content: bytes, rng: random.Random, name: str) -> dict[str, bytes]:
    """Return a database with a change that is only in the write-ahead log beside it."""
    with tempfile.TemporaryDirectory(prefix="fuzz-log-") as folder:
        path = Path(folder) / "x.db"
        path.write_bytes(content)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for _ in range(rng.choice((1, 3))):
                with suppress(sqlite3.Error):
                    change_value(connection, rng)
                connection.commit()
            beside = path.with_name("x.db-wal")
            return {name: path.read_bytes(), f"{name}-wal": beside.read_bytes()}


def _without_constraints(content: bytes) -> bytes:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.deserialize(content)
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute(
            "UPDATE sqlite_master SET sql = replace(sql, 'NOT NULL', '') WHERE type = 'table'"
        )
        connection.commit()
        return connection.serialize()


def _changed_pages(content: bytes, rng: random.Random) -> bytes:
    """Change the head of a page or one of its pointers, where the trees are held together."""
    out = bytearray(content)
    size = int.from_bytes(out[16:18], "big") or 512
    for _ in range(rng.choice((1, 1, 3))):
        page = rng.randrange(max(1, len(out) // size)) * size
        at = page + (100 if page == 0 else 0) + rng.choice((0, 1, 3, 5, 7, 8, 10, 12, 14, 16))
        value = rng.choice((*EXTREMES, rng.randrange(len(out) // size + 1)))
        width = rng.choice((1, 2, 4))
        out[at : at + width] = (value & (256**width - 1)).to_bytes(width, "big")
    return bytes(out)


def _table(connection: sqlite3.Connection, rng: random.Random) -> tuple[str, str]:
    """Return a table that has rows, more often than not, and one of its columns."""
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    filled = [n for n in names if connection.execute(f'SELECT 1 FROM "{n}" LIMIT 1').fetchone()]
    table = rng.choice(filled if filled and rng.random() < 0.9 else names)
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
    return table, rng.choice(columns)


def _sql_value(rng: random.Random) -> Any:
    text = rng.choice(TEXTS).encode(errors="replace").decode()
    return rng.choice((None, rng.choice(NUMBERS), text, text.encode(), rng.randbytes(9)))


def change_value(connection: sqlite3.Connection, rng: random.Random) -> None:
    """Set a column to something else, in one row or some."""
    table, column = _table(connection, rng)
    (count,) = connection.execute(f'SELECT count(*) FROM "{table}"').fetchone()
    rows = f'SELECT rowid FROM "{table}" LIMIT ? OFFSET ?'
    span = (rng.choice((1, 1, 5, 1000)), rng.randrange(max(1, count)))
    connection.execute(
        f'UPDATE OR REPLACE "{table}" SET "{column}" = ? WHERE rowid IN ({rows})',
        (_sql_value(rng), *span),
    )


def _delete_rows(connection: sqlite3.Connection, rng: random.Random) -> None:
    table, _ = _table(connection, rng)
    connection.execute(f'DELETE FROM "{table}" WHERE rowid % ? = 0', (rng.choice((1, 2, 3)),))


def _repeat_rows(connection: sqlite3.Connection, rng: random.Random) -> None:
    table, _ = _table(connection, rng)
    info = list(connection.execute(f'PRAGMA table_info("{table}")'))
    names = ", ".join(f'"{row[1]}"' for row in info if not row[5]) or f'"{info[0][1]}"'
    connection.execute(f'INSERT OR IGNORE INTO "{table}" ({names}) SELECT {names} FROM "{table}"')


def _change_layout(connection: sqlite3.Connection, rng: random.Random) -> None:
    table, column = _table(connection, rng)
    expression = rng.choice(
        ("1", "hex(zeroblob(400000000))", f"({column})", "1/0", "randomblob(9)", "x'00ff'")
    )
    connection.execute(
        rng.choice(
            (
                f'ALTER TABLE "{table}" RENAME COLUMN "{column}" TO "{column}2"',
                f'ALTER TABLE "{table}" DROP COLUMN "{column}"',
                f'ALTER TABLE "{table}" RENAME TO "{table}2"',
                f'ALTER TABLE "{table}" ADD COLUMN "{rng.choice(("run_id", "id", "x"))}" DEFAULT 1',
                f'DROP TABLE "{table}"',
                f"PRAGMA user_version = {rng.choice((-1, 0, 1, 3, 2**31 - 1))}",
                f'CREATE TABLE "{rng.choice(("alembic_version", "configs", "metrics2"))}" (x)',
            )
        )
    )
    if rng.random() < 0.3:
        connection.execute(f'ALTER TABLE "{table}" DROP COLUMN "{column}"')
        connection.execute(f'ALTER TABLE "{table}" ADD COLUMN "{column}" AS ({expression})')


def _view_instead(connection: sqlite3.Connection, rng: random.Random) -> None:
    """Put a view in a table's place: of its rows and more, or without an end."""
    table, column = _table(connection, rng)
    connection.execute(f'ALTER TABLE "{table}" RENAME TO "{table}_"')
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}_")')]
    same = ", ".join(f'"{name}"' for name in columns)
    endless = ", ".join(f'x AS "{name}"' for name in columns)
    large = ", ".join(
        f'hex(zeroblob(400000000)) AS "{n}"' if n == column else f'"{n}"' for n in columns
    )
    query = rng.choice(
        (
            f'SELECT {same} FROM "{table}_"',
            f"SELECT {endless} FROM ({_ENDLESS})",
            f'SELECT {large} FROM "{table}_"',
            f'SELECT {same} FROM "{table}_", ({_ENDLESS})',
        )
    )
    connection.execute(f'CREATE VIEW "{table}" AS {query}')


SQL_WAYS = (
    *[change_value] * 20, *[_delete_rows, _repeat_rows, _change_layout] * 4, _view_instead,
)  # fmt: skip


def changed_aim(files: dict[str, bytes], rng: random.Random, others: Others) -> dict[str, bytes]:
    """Change keys and values of one of the databases of an Aim repository."""
    import aimrocks

    chunks = sorted({n.rpartition("/")[0] for n in files if "/chunks/" in n})
    chunk = rng.choice(chunks)
    own = {name: content for name, content in files.items() if name.startswith(f"{chunk}/")}
    with tempfile.TemporaryDirectory(prefix="fuzz-aim-") as name:
        folder = Path(name)
        for file, content in own.items():
            (folder / file.rpartition("/")[2]).write_bytes(content)
        database = aimrocks.DB(name, aimrocks.Options())
        found = database.iteritems()
        found.seek_to_first()
        rows = list(found)
        del found  # ends the process when it goes after its database
        for _ in range(rng.choice((1, 2, 5))):
            _change_pair(database, rows, rng, others)
        del database  # which closes it; closed by hand, it ends the process
        after = {f"{chunk}/{p.name}": p.read_bytes() for p in folder.iterdir() if p.is_file()}
    return {n: c for n, c in files.items() if n not in own} | after


def _change_pair(
    database: Any, rows: list[tuple[bytes, bytes]], rng: random.Random, others: Others
) -> None:
    key, value = rng.choice(rows)
    match rng.randrange(6):
        case 0:
            database.delete(key)
        case 1:
            database.put(key, rng.choice(rows)[1])
        case 2:
            database.put(change_bytes(key, rng, others)[:200], value)
        case 3:
            database.put(key, rng.choice(sorted(_KINDS)) + value[1:])
        case 4:
            width = max(1, len(value) - 1)
            database.put(key, value[:1] + rng.choice(EXTREMES).to_bytes(8, "little")[:width])
        case _:
            database.put(key, value[:1] + change_bytes(value[1:], rng, others)[:4000])
