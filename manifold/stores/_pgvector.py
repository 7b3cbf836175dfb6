"""PostgreSQL with pgvector as a store: one table, a key, a column of vectors.

    <=>  s = 1 - v      <#>  s = -v      <->  s = -v^2

Names are quoted, values are parameters. Vectors come as the bytes of the wire, which hold them exactly.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, cast

import numpy as np

from manifold._typing import Facts
from manifold.stores._base import BATCH, Lists, Vectors, form_of, listed, together

if TYPE_CHECKING:
    from psycopg import Connection
    from psycopg.sql import SQL, Composed

    Row = tuple[object, ...]

_OPERATORS = {"cosine": ("<=>", "1 - v"), "inner_product": ("<#>", "-v"), "euclidean": ("<->", "-v^2")}
_HEADER = 1  # places before the numbers of a vector on the wire: its length, as two short integers
# without these an index over all rows stops at its 40 nearest, of which a filter may leave none
_SETTINGS = "select set_config('hnsw.ef_search', %s, true), set_config('hnsw.iterative_scan', 'strict_order', true)"
_LEAST_EF, _MOST_EF = 40, 1000  # pgvector's default, and its limit


class PgVector:
    """A table of PostgreSQL with a column of type vector or halfvec.

    Reference: guide *stores*, "What a store is asked".

    Parameters
    ----------
    connection : str or psycopg.Connection
        A connection string, by which a connection of its own is opened, and again where it was lost; or a connection,
        which is used in short transactions. Threads take turns.
    table : str
        Its name, with its schema where that is not on the search path: "shop.items".
    id, vector : str
        Columns: the key, of any type that can be ordered; the vectors. Rows whose vector is NULL are left out.
    metric : {"cosine", "inner_product", "euclidean"}
        By which operator the table is searched.

    Notes
    -----
    A filter is `(condition, parameters)`: text of SQL with ``%s`` for each value, and the values, which are never put
    into the text. Needs psycopg, and pgvector 0.8 or later in the database; reading is all it does.

    Examples
    --------
    >>> PgVector("dbname=shop", "public.items")
    PgVector('public.items', id='id', vector='embedding', metric='cosine')
    """

    def __init__(
        self,
        connection: str | Connection[Row],
        table: str,
        *,
        id: str = "id",
        vector: str = "embedding",
        metric: str = "cosine",
    ) -> None:
        form_of(_OPERATORS, metric, store="pgvector")
        self.table, self.id, self.vector, self.metric = table, id, vector, metric
        self._given = connection
        self._opened: Connection[Row] | None = None
        self._turn = threading.Lock()

    def __repr__(self) -> str:
        return f"PgVector({self.table!r}, id={self.id!r}, vector={self.vector!r}, metric={self.metric!r})"

    def __getstate__(self) -> Facts:
        """Leave out what is this process's own: a connection that was opened by its text, and whose turn it is."""
        return {name: value for name, value in vars(self).items() if name not in ("_opened", "_turn")}

    def __setstate__(self, state: Facts) -> None:
        vars(self).update(state)
        self._opened, self._turn = None, threading.Lock()

    def batches(self) -> Iterator[tuple[Sequence[object], Vectors]]:
        """Yield all ids and vectors, page by page in the order of the key: no transaction is longer than a page."""
        page = "select {id}, vector_send({vector}::vector) from {table} where {vector} is not null"
        first, further = (self._sql(page + more + " order by {id} limit %s") for more in ("", " and {id} > %s"))
        rows = self._rows(first, [BATCH])
        while rows:
            ids = [row[0] for row in rows]
            wire = np.frombuffer(b"".join(cast("bytes", row[1]) for row in rows), dtype=">f4").reshape(len(rows), -1)
            yield ids, wire[:, _HEADER:].astype(np.float32)
            rows = self._rows(further, [ids[-1], BATCH])

    def search(self, Q: Vectors, k: int, where: object = None) -> Lists:
        """Return the nearest rows of each query, by the index of the table where it has one."""
        condition, values = self._condition(where)
        operator, form = _OPERATORS[self.metric]
        distance = "{vector} " + operator + " %s::vector"
        statement = self._sql("select {id}, " + distance + " from {table} where {vector} is not null") + condition
        statement += self._sql(" order by " + distance + " limit %s")
        lists = []
        for q in np.asarray(Q, dtype=np.float32).tolist():
            text = f"[{','.join(map(repr, q))}]"
            rows = self._rows(statement, [text, *values, text, k], ef=min(max(k, _LEAST_EF), _MOST_EF))
            lists.append(listed([row[0] for row in rows], [cast("float", row[1]) for row in rows], form))
        return together(lists)

    def keep(self, ids: Sequence[object] | None, where: object = None) -> set[object]:
        """Return those of some ids, or of all, that are rows with a vector and satisfy a filter."""
        condition, values = self._condition(where)
        if ids is not None and not len(ids):
            return set()
        among = "" if ids is None else " and {id} = any(%s)"
        statement = self._sql("select {id} from {table} where {vector} is not null" + among) + condition
        return {row[0] for row in self._rows(statement, [*([] if ids is None else [list(ids)]), *values])}

    def _condition(self, where: object) -> tuple[SQL | Composed, list[object]]:
        """Return a filter as what follows a condition, and its parameters; raise TypeError for text alone."""
        from psycopg import sql

        if where is None:
            return sql.SQL(""), []
        if not isinstance(where, tuple) or len(where) != 2 or isinstance(where[1], str):
            raise TypeError(f"where must be (condition, parameters), got {where!r}: ('tag = any(%s)', [[3, 5]])")
        text, values = where
        condition = text if isinstance(text, sql.Composable) else sql.SQL(text)
        return sql.SQL(" and (") + condition + sql.SQL(")"), list(values)

    def _sql(self, text: str) -> Composed:
        """Return text of this file with the names of the table and its columns quoted in it."""
        from psycopg import sql

        names = {"id": [self.id], "vector": [self.vector], "table": self.table.split(".")}
        # beside parameters a percent sign stands for one, in a name too
        quoted = {part: sql.Identifier(*(n.replace("%", "%%") for n in name)) for part, name in names.items()}
        return sql.SQL(text).format(**quoted)

    def _rows(self, statement: Composed, values: list[object], *, ef: int | None = None) -> list[Row]:
        with self._turn:
            connection = self._connected()
            with connection.transaction():  # one of its own, or a savepoint in that of its owner
                if ef is not None:
                    connection.execute(_SETTINGS, [str(ef)])
                return connection.cursor(binary=True).execute(statement, values).fetchall()

    def _connected(self) -> Connection[Row]:
        """Return the connection; open one where there is none, or the server has closed it."""
        if not isinstance(self._given, str):
            return self._given
        if self._opened is None or self._opened.closed:
            try:
                import psycopg
            except ImportError as error:
                raise ImportError("PgVector needs psycopg: pip install 'manifold-search[stores]'") from error
            self._opened = psycopg.connect(self._given, autocommit=True)
            weakref.finalize(self, self._opened.close)
        return self._opened
