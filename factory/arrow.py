"""From record classes to Parquet columns: one schema a class, the same in every shard and run."""

import types
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import pyarrow as pa

from factory.records import Fixed

_PLAIN: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float32(),
    bool: pa.bool_(),
}


def column_type(hint: Any) -> pa.DataType:
    """The Arrow type of one annotation; raises TypeError for what has no column."""
    if hint in _PLAIN:
        return _PLAIN[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, mark = args
        if isinstance(mark, Fixed):
            return pa.list_(column_type(get_args(inner)[0]), mark.length)
        return column_type(inner)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return pa.list_(column_type(args[0]))
    if origin in (Union, types.UnionType):
        return column_type(next(a for a in args if a is not type(None)))
    if isinstance(hint, type) and issubclass(hint, tuple):
        return pa.struct([(name, column_type(t)) for name, t in get_type_hints(hint).items()])
    raise TypeError(f"no column type for {hint!r}; use str, int, float, bool, tuple[...] of these, or a NamedTuple")


@cache
def schema(record: type) -> pa.Schema:
    """Columns of a record class, then `reply`: the key of the reply that made the row ('' where none did)."""
    hints = get_type_hints(record, include_extras=True)
    return pa.schema([(f.name, column_type(hints[f.name])) for f in fields(record)] + [("reply", pa.string())])


def table(record: type, rows: Sequence[Any], replies: Iterable[str]) -> pa.Table:
    """Rows as a table, columns in the order of the class."""
    shape = schema(record)
    columns = [pa.array(list(map(attrgetter(name), rows)), shape.field(name).type) for name in shape.names[:-1]]
    return pa.table([*columns, pa.array(list(replies), pa.string())], schema=shape)
