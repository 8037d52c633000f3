"""Pickles that hold functions and classes by value, where their module cannot be imported: lambdas, a program's own.

Source: https://github.com/cloudpipe/cloudpickle. Both ends must run the same minor version of Python, as code objects
differ between them.
"""

from __future__ import annotations

import pickle
from typing import Any

import cloudpickle

from celeriac.errors import DecodeError, EncodeError
from celeriac.saferepr import saferepr

SHOWN = 300


class CloudpickleCodec:
    """Pickle. Reading one runs what it says, so that nothing is read whose signature was not verified."""

    content_type = "application/x-cloudpickle"
    content_encoding = "binary"
    carries_code = True

    def encode(self, value: Any) -> bytes:
        """Return ``value`` as a pickle.

        Raises:
            EncodeError: it holds what belongs to this process: a lock, a socket, an open file.
        """
        try:
            pickled: bytes = cloudpickle.dumps(value)
        except Exception as error:  # ``__reduce__`` is user code
            raise EncodeError(f"it cannot be pickled: {_shown(error)}", root="value") from error
        return pickled

    def decode(self, data: bytes) -> Any:
        """Return the value. To be called for what was verified only.

        Raises:
            DecodeError: it is no pickle, or a class or module that it names cannot be found here, or refuses it.
        """
        try:
            return pickle.loads(data)  # noqa: S301 - signed by a key of ours, as `carries_code` asks
        except BaseException as error:
            # whatever it calls is user code, and may even exit
            raise DecodeError(f"the pickle cannot be read: {_shown(error)}") from error


def _shown(error: BaseException) -> str:
    return f"{type(error).__name__}: {saferepr(str(error), SHOWN)}"
