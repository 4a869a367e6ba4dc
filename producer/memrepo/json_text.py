"""Reading JSON that somebody else wrote: a message, a record, a body, an object of the store. Writing what is large."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

VALUES_MAX = 1_000_000
"""How many values a text may hold: three bytes can stand for 100 in memory, and all are made before one is looked at.

Large results hold fewer: 32 MiB of them are paths, shas and texts.
"""

PIECE_CHARS = 64 * 1024
"""About so much is written in one step, which no other thread can come between."""

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


def json_pieces(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield a value as compact JSON, in pieces; keys are texts.

    The encoder of Python keeps the interpreter's lock for the whole of what it is given: 0.1 s for 16 MiB of line
    breaks, in which no other request is served. So it is given what is large bit by bit.
    """
    waiting: list[str] = []
    chars = 0
    for piece in _bits(value):
        waiting.append(piece)
        chars += len(piece)
        if chars >= PIECE_CHARS:
            yield "".join(waiting)
            waiting, chars = [], 0
    if waiting:
        yield "".join(waiting)


def _bits(value: Any) -> Iterator[str]:  # noqa: ANN401 - any JSON value
    """Yield the parts of a value's JSON; what is small is one."""
    if _is_small(value):
        yield _written(value)
    elif isinstance(value, str):
        yield '"'
        for start in range(0, len(value), PIECE_CHARS):
            yield _written(value[start : start + PIECE_CHARS])[1:-1]
        yield '"'
    elif isinstance(value, dict):
        for number, (key, item) in enumerate(value.items()):
            yield f"{',' if number else '{'}{_written(key)}:"
            yield from _bits(item)
        yield "}"
    else:
        for number, item in enumerate(value):
            yield "," if number else "["
            yield from _bits(item)
        yield "]"


def _written(value: Any) -> str:  # noqa: ANN401 - any JSON value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_small(value: Any) -> bool:  # noqa: ANN401 - any JSON value
    """Whether a value has few texts, and few others, together: then it is one step to write it."""
    left, chars = [value], 0
    while left and chars <= PIECE_CHARS:
        item = left.pop()
        if isinstance(item, str):
            chars += len(item)
        elif isinstance(item, dict):
            chars += sum(map(len, item))
            left.extend(item.values())
        elif isinstance(item, list | tuple):
            left.extend(item)
        chars += 1
    return chars <= PIECE_CHARS
