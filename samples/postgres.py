"""Builds the same hospital on PostgreSQL, with PostgreSQL's own types."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from samples.hospital import Progress, SampleError, rows_of
from samples.row import Value, json_text
from samples.schema import postgres_ddl


def build_postgres(
    connection: psycopg.Connection[Any], site: int, schema: str = "public", *, progress: Progress | None = None
) -> dict[str, int]:
    """Create the tables of hospital `site` in `schema`, which is created if missing, and return the number of rows per table.

    All in one transaction (a savepoint inside the caller's): complete, or nothing of it is there. In autocommit mode it is
    committed, else the caller commits. Raises SampleError if one of the tables exists or the role may not create them.
    """
    rows = rows_of(site)
    total, done = sum(map(len, rows.values())), 0
    try:
        with connection.transaction(), connection.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            previous = cursor.execute("SHOW search_path").fetchone()
            cursor.execute("SELECT set_config('search_path', quote_ident(%s), true)", (schema,))
            cursor.execute(postgres_ddl())
            for table, table_rows in rows.items():
                columns = list(table_rows[0])
                names = sql.SQL(", ").join(map(sql.Identifier, columns))
                with cursor.copy(sql.SQL("COPY {} ({}) FROM STDIN").format(sql.Identifier(table), names)) as copy:
                    for row in table_rows:
                        copy.write_row([_postgres_value(row[column]) for column in columns])
                done += len(table_rows)
                if progress:
                    progress(table, done, total)
            cursor.execute("SELECT set_config('search_path', %s, true)", previous)
    except psycopg.errors.DuplicateTable as error:
        raise SampleError(f"The schema {schema} has tables of a hospital already: choose an empty schema.") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise SampleError(f"This role may not create tables in the schema {schema}: use the schema's owner.") from error
    return {table: len(table_rows) for table, table_rows in rows.items()}


def _postgres_value(value: Value) -> object:
    return Jsonb(value, dumps=json_text) if isinstance(value, dict | list) else value
