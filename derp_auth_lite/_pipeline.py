"""Statements to PostgreSQL, several in one message.

To wait for an answer costs as much as most statements do where the server is near, and many times
that where it is another machine. So a transaction sends when somebody waits for rows, and at its
end; what nobody waits for is kept until then:

    BEGIN                   kept
    UPDATE … RETURNING      its rows are waited for: one message with BEGIN
    INSERT                  kept
    INSERT                  kept
    COMMIT                  its answer is waited for: one message with both

The server does all in the order in which it was said, and nothing after what failed. So an error of
a statement that was kept is raised where its message is sent, at the latest by the commit.

psycopg's own pipeline sends each statement by itself, and costs more than it saves on one machine;
here a message is put together on the layer below it, ``psycopg.pq``.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Generator, Sequence
from typing import Any, NamedTuple

from psycopg import Connection, DatabaseError, IntegrityError, OperationalError
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute, fetch_many
from psycopg.pq import ExecStatus

__all__ = ["Pipeline"]

_MOST_PREPARED = 100
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class _Statement(NamedTuple):
    """A statement as it goes over the wire; its text and the types of its values are one key."""

    key: tuple[bytes, tuple[int, ...]]
    values: Sequence[Any]
    formats: Sequence[Any] | None


class Pipeline:
    """What is said to the server over one connection, and what is kept to be said.

    Args:
        prepares: What is prepared stays so: the connection leads to one session of the server.
    """

    def __init__(self, connection: Connection[Any], *, prepares: bool) -> None:
        self.kept: list[_Statement] = []
        self._connection = connection
        self._transformer = Transformer(connection)  # made anew it would learn all types again
        self._most_prepared = _MOST_PREPARED if prepares else 0
        self._prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._numbers = itertools.count()

    @property
    def begins(self) -> bool:
        """Whether what is kept begins a transaction: nothing of it was sent yet."""
        return bool(self.kept) and self.kept[0].key[0] == b"BEGIN"

    def keep(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        """Send a statement with the next message."""
        transformer = self._transformer
        values = transformer.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        key = _numbered(sql), tuple(transformer.types or ())
        self.kept.append(_Statement(key, values, transformer.formats))

    def run(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Send a statement, after what was kept, and return its rows.

        Raises:
            psycopg.Error: The statement failed, or one that was kept: that is never an
                IntegrityError, which would be taken for an answer to this one.
        """
        self.keep(sql, parameters)
        return self.flush()

    def flush(self) -> list[tuple[Any, ...]]:
        """Send what was kept, and return the rows of the last of it."""
        statements, self.kept = self.kept, []
        *earlier, last = self._exchange(statements)
        for result in earlier:
            if result.status not in _GOOD:
                error = error_from_result(result)
                if isinstance(error, IntegrityError):
                    raise DatabaseError("a key of a statement that was kept failed") from error
                raise error
        if last.status not in _GOOD:
            raise error_from_result(last)
        if not last.nfields:
            return []
        self._transformer.set_pgresult(last)
        return self._transformer.load_rows(0, last.ntuples, tuple)

    def _exchange(self, statements: list[_Statement]) -> list[Any]:
        """Send one message, and return the result of each statement."""
        pgconn = self._connection.pgconn
        commands: list[tuple[Any, bytes] | None] = []  # what is newly prepared, or None: it is run
        try:
            pgconn.enter_pipeline_mode()
            for key, values, formats in statements:
                name = self._prepared.get(key)
                if name is None and len(self._prepared) < self._most_prepared:
                    name = b"s%d" % next(self._numbers)
                    pgconn.send_prepare(name, *key)
                    commands.append((key, name))
                if name is None:
                    pgconn.send_query_params(key[0], values, key[1], formats)
                else:
                    pgconn.send_query_prepared(name, values, formats)
                commands.append(None)
            pgconn.pipeline_sync()
            answers = self._connection.wait(_answers(pgconn, len(commands)))
            pgconn.exit_pipeline_mode()
        except BaseException:
            # What is cut off in the middle leaves answers that belong to nobody.
            self._connection.close()
            raise
        results: list[Any] = []
        failed = None
        for prepared, answer in zip(commands, answers, strict=True):
            if prepared is None:
                results.append(failed or answer)
            elif answer.status in _GOOD:
                self._prepared.update([prepared])
            else:
                failed = failed or answer
        return results


def _answers(pgconn: Any, count: int) -> Generator[Any, Any, list[Any]]:
    """Collect the answers to a message of so many commands, and the one that says that it ends."""
    answers: list[Any] = yield from execute(pgconn)
    while len(answers) <= count:
        more = yield from fetch_many(pgconn)
        if not more:
            raise OperationalError("the server hung up")
        answers += more
    return answers[:count]


@functools.lru_cache(1000)
def _numbered(sql: str) -> bytes:
    """Return SQL as the server reads it: with ``$1``, ``$2``, … for each ``%s``."""
    numbers = itertools.count(1)
    text = re.sub("%[s%]", lambda sign: f"${next(numbers)}" if sign[0] == "%s" else "%", sql)
    return text.encode()
