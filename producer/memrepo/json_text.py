"""Reading JSON that somebody else wrote: a message, a record, a body, an object of the store."""

from __future__ import annotations

import json
import re
from typing import Any

VALUES_MAX = 1_000_000
"""How many values a text may hold: three bytes can stand for 100 in memory, and all are made before one is looked at.

Large results hold fewer: 32 MiB of them are paths, shas and texts.
"""

_OPENING = ("{", "[", ",")
_STRING = re.compile(r'"[^"]*"')


def read_json(text: str | bytes, values_max: int = VALUES_MAX) -> Any:  # noqa: ANN401 - any JSON value
    """Decode JSON, whoever wrote it; ``values_max`` is how many values, containers too, it may hold.

    Raises:
        ValueError: it is no JSON in UTF-8, whatever is wrong with it, or holds more. ``json.loads`` itself raises
            ``RecursionError``, which is no ``ValueError``, for what is nested too deeply, so that a kilobyte of ``[``
            could end a thread.
    """
    if isinstance(text, bytes):
        text = text.decode(errors="surrogatepass")
    if _values(text) > values_max and _values(_outside_strings(text, values_max)) > values_max:
        raise _too_many(values_max)
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None


def _values(text: str) -> int:
    """Return how many values there are at most: each follows on one of these, or is the first."""
    return 1 + sum(map(text.count, _OPENING))


def _outside_strings(text: str, values_max: int) -> str:
    """Return the text without its strings, in which the same characters say nothing."""
    plain = text.replace("\\\\", "").replace('\\"', "")
    if plain.count('"') > 4 * values_max:  # a key and a value, each in two
        raise _too_many(values_max)
    return _STRING.sub("", plain)


def _too_many(values_max: int) -> ValueError:
    return ValueError(f"JSON of more than {values_max} values")
