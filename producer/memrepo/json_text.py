"""Reading JSON that somebody else wrote: a message, a record, a body, an object of the store."""

from __future__ import annotations

import json
from typing import Any


def read_json(text: str | bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Decode JSON, whoever wrote it.

    Raises:
        ValueError: it is no JSON, whatever is wrong with it. ``json.loads`` itself raises ``RecursionError``, which
            is no ``ValueError``, for what is nested too deeply, so that a kilobyte of ``[`` could end a thread.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("JSON that is nested too deeply") from None
