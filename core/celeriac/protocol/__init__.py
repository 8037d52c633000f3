"""Celery's task message protocol, version 2, and its result JSON, as data in and out. Pure: no I/O, no clock.

Source: https://docs.celeryq.dev/en/stable/internals/protocol.html, and messages and results captured from Celery 5.7
(``tests/core/captures``). What celeriac adds stands in one header table, `OwnTable`; a Celery worker ignores it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from celeriac.lazy import at_first_use

if TYPE_CHECKING:
    from celeriac.protocol.body import decode_body
    from celeriac.protocol.build import Packed, pack, resend, retried, task_message
    from celeriac.protocol.compression import compression_type
    from celeriac.protocol.errordata import ErrorData, RemoteTraceback, rebuild
    from celeriac.protocol.header import TaskHeader, parse_header
    from celeriac.protocol.own import OwnTable
    from celeriac.protocol.resultmeta import parse_result_meta, result_meta
    from celeriac.protocol.when import aware, parse_when

__all__ = [
    "ErrorData",
    "OwnTable",
    "Packed",
    "RemoteTraceback",
    "TaskHeader",
    "aware",
    "compression_type",
    "decode_body",
    "pack",
    "parse_header",
    "parse_result_meta",
    "parse_when",
    "rebuild",
    "resend",
    "result_meta",
    "retried",
    "task_message",
]

_HOMES = {
    "ErrorData": "errordata",
    "OwnTable": "own",
    "Packed": "build",
    "RemoteTraceback": "errordata",
    "TaskHeader": "header",
    "aware": "when",
    "compression_type": "compression",
    "decode_body": "body",
    "pack": "build",
    "parse_header": "header",
    "parse_result_meta": "resultmeta",
    "parse_when": "when",
    "rebuild": "errordata",
    "resend": "build",
    "result_meta": "resultmeta",
    "retried": "build",
    "task_message": "build",
}

__getattr__ = at_first_use(__name__, _HOMES)  # who declares tasks needs two of them, and none of what reads messages
