"""Which PostgreSQL types have a text that is exact and depends on nothing else, and what they are called.

Refused are types whose text loses a part of the value (xml drops its declaration), depends on unpinned settings (money), on other
objects (regclass and its kin), or on a library whose text is not known to be stable (most extensions).
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.sources.postgres_copy import Connection

# Catalog name -> name in shapes, one for types that hold alike.
_PLAIN = {
    "bool": "boolean", "int2": "integer", "int4": "integer", "int8": "integer", "numeric": "numeric", "float4": "real",
    "float8": "double precision", "text": "text", "varchar": "text", "bpchar": "bpchar", "name": "name", "bytea": "bytea",
    "date": "date", "time": "time without time zone", "timetz": "time with time zone", "timestamp": "timestamp without time zone",
    "timestamptz": "timestamp with time zone", "interval": "interval", "uuid": "uuid", "json": "json", "jsonb": "jsonb",
    "inet": "inet", "cidr": "cidr", "macaddr": "macaddr", "macaddr8": "macaddr8", "bit": "bit", "varbit": "bit varying",
    "point": "point", "line": "line", "lseg": "lseg", "box": "box", "path": "path", "polygon": "polygon", "circle": "circle",
    "tsvector": "tsvector", "tsquery": "tsquery", "oid": "oid", "pg_lsn": "pg_lsn", "jsonpath": "jsonpath",
}  # fmt: skip
_EXTENSIONS = {("citext", "citext"), ("hstore", "hstore"), ("ltree", "ltree")}
_WIDEST = {"integer": "bigint", "character": "bpchar", "bit": '"bit"'}
_UNORDERED = frozenset({"json", "jsonpath", "point", "line", "lseg", "box", "path", "polygon", "circle"})

_QUERY = """
SELECT t.typname, n.nspname, t.typtype, t.typcategory, t.typelem, t.typbasetype, t.typtypmod, t.typrelid,
       quote_ident(n.nspname) || '.' || quote_ident(t.typname), e.extname, r.rngsubtype
  FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace
  LEFT JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e'
  LEFT JOIN pg_extension e ON e.oid = d.refobjid
  LEFT JOIN pg_range r ON t.oid IN (r.rngtypid, {multirange})
 WHERE t.oid = %s
"""


@dataclass(frozen=True, slots=True)
class ExactType:
    """A type by its name in shapes; `exact` tells whether it may be committed to."""

    name: str
    exact: bool

    @property
    def orderable(self) -> bool:
        """Whether equality and an index exist, so that it may be a key."""
        return self.name not in _UNORDERED


def queue_type(name: str) -> str:
    """The SQL type that takes every value of the types that have this name in shapes, whatever their width."""
    plain = name.rstrip("[]")
    return _WIDEST.get(plain, plain) + name[len(plain) :]


class TypeBook:
    """Types of one database, looked up once each."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[tuple[int, int], ExactType] = {}
        multirange = "r.rngmultitypid" if connection.info.server_version >= 140000 else "r.rngtypid"
        self._query = _QUERY.format(multirange=multirange)

    def look_up(self, oid: int, modifier: int = -1) -> ExactType:
        """The type with this oid and type modifier (its width, -1 for none)."""
        if (oid, modifier) not in self._known:
            self._known[oid, modifier] = self._resolve(oid, modifier)
        return self._known[oid, modifier]

    def _resolve(self, oid: int, modifier: int) -> ExactType:
        found = self._connection.execute(self._query, (oid,)).fetchone()
        if found is None:
            return ExactType(f"type {oid}", exact=False)
        name, schema, kind, category, element, base, base_modifier, relation, qualified, extension, subtype = found
        own = name if schema == "pg_catalog" else qualified
        if kind == "d":
            return self.look_up(base, base_modifier)
        if category == "A" and element and not name.endswith("vector"):
            item = self.look_up(element, modifier)
            return ExactType(f"{item.name}[]", item.exact)
        if kind == "c":
            return ExactType(own, all(self.look_up(*part).exact for part in self._attributes(relation)))
        if kind in ("r", "m"):
            return ExactType(own, self.look_up(subtype).exact)
        if kind == "e":
            return ExactType(own, exact=True)
        if schema == "pg_catalog" and name in _PLAIN:
            plain = "character" if name == "bpchar" and modifier >= 0 else _PLAIN[name]
            return ExactType(plain, exact=True)
        return ExactType(own, exact=(extension, name) in _EXTENSIONS)

    def _attributes(self, relation: int) -> list[tuple[int, int]]:
        query = "SELECT atttypid, atttypmod FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped"
        return [(int(oid), int(modifier)) for oid, modifier in self._connection.execute(query, (relation,))]
