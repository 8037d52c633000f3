"""What one turn of the writer does: read for those who only look, then write for all others in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from celeriac.errors import ConnectionLost
from celeriac_sqlite.failures import as_transport_error, is_fatal
from celeriac_sqlite.jobs import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from celeriac_sqlite.database import Database
    from celeriac_sqlite.jobs import Job, Operation
    from celeriac_sqlite.ticket import Ticket


def read(database: Database, jobs: Sequence[Job]) -> tuple[list[Answer], list[Job]]:
    """Answer what reading can answer; return also the jobs that are to write."""
    if not any(job.look for job in jobs):
        return [], list(jobs)
    answers, writing = [], []
    database.begin(write=False)
    try:
        for job in jobs:
            value = _seen(database, job)
            if value is None and job.operation is not None:
                writing.append(job)
            else:
                answers.append(Answer(job, value))
    finally:
        database.end()
    return answers, writing


def write(database: Database, ticket: Ticket, jobs: Sequence[Job]) -> tuple[list[Answer], set[str]]:
    """Do all ``jobs`` in one transaction; return the answers, and the kinds of things that changed.

    Where one of them fails the transaction is undone, and each is done by itself: nobody pays for another's fault.

    Raises:
        ConnectionLost: the file was removed or replaced.
        sqlite3.Error: the fault is the database's; nothing was written.
    """
    try:
        with ticket.held():
            database.begin(write=True)  # which may have taken long
            jobs = [job for job in jobs if not job.is_recalled]
            answers = _operate(database, jobs)
            database.commit()
    except Exception as error:
        database.rollback()
        if is_fatal(error) or isinstance(error, ConnectionLost):
            raise
        if len(jobs) == 1:
            return [Answer(jobs[0], _mapped(error, database.path))], set()
    else:
        return answers, database.rings
    answers, rings = [], set()
    for job in jobs:
        its, rung = write(database, ticket, [job])
        answers += its
        rings |= rung
    return answers, rings


def _seen(database: Database, job: Job) -> Any:
    if job.look is None:
        return None
    try:
        return job.look(database, job.payload)
    except Exception as error:
        if is_fatal(error):
            raise
        return _mapped(error, database.path)


def _operate(database: Database, jobs: Sequence[Job]) -> list[Answer]:
    groups: dict[Operation, list[Job]] = {}
    for job in jobs:
        if job.operation is not None:
            groups.setdefault(job.operation, []).append(job)
    answers: list[Answer] = []
    for operation, group in groups.items():
        values = operation(database, [job.payload for job in group])
        answers += [Answer(job, value) for job, value in zip(group, values, strict=True)]
    return answers


def _mapped(error: Exception, path: str) -> Exception:
    told = as_transport_error(error, path)
    if told is not error:
        told.__cause__ = error
    return told
