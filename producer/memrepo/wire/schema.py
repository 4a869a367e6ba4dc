"""The operations as JSON Schema, for clients in other languages: ``python -m memrepo.wire.schema`` prints it."""

from __future__ import annotations

import errno
import json
import os
import sys

from pydantic import JsonValue

from memrepo.wire.operations import OPERATIONS
from memrepo.wire.versions import MESSAGE_VERSION


def schema() -> dict[str, JsonValue]:
    """Return, for each operation, what its message's ``request`` is and what a record's ``result`` is when done."""
    operations: dict[str, JsonValue] = {
        name: {
            "request": operation.request.model_json_schema(mode="serialization"),
            "result": operation.result.json_schema(mode="serialization"),
        }
        for name, operation in OPERATIONS.items()
    }
    return {"memrepo_version": MESSAGE_VERSION, "operations": operations}


def main() -> int:
    """Print it and return the exit code: output that cannot be written is one line, and a closed pipe is none."""
    text = json.dumps(schema(), indent=2) + "\n"
    if sys.stdout is None:
        sys.stderr.write("Error: the output cannot be written: standard output is closed.\n")
        return 1
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # What is left in the buffer would fail again, with a traceback, when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:
            return 141  # 128 + the signal's number, as of every command whose reader has read enough
        sys.stderr.write(f"Error: the output cannot be written: {error.strerror}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
