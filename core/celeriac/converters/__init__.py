"""Values and plain data, by annotation: what lets any codec carry dataclasses, models, enumerations and the like.

A converter stands for one annotation. `CallTypes` joins those of a function; `converter_for` finds one. Nothing here
knows of bytes: a codec writes the plain data.
"""

from __future__ import annotations

from celeriac.converters.call import CallTypes
from celeriac.converters.find import converter_for

__all__ = ["CallTypes", "converter_for"]
