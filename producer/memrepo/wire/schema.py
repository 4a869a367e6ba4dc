"""The operations as JSON Schema, for clients in other languages: ``python -m memrepo.wire.schema`` prints it."""

from __future__ import annotations

import json
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


if __name__ == "__main__":
    sys.stdout.write(json.dumps(schema(), indent=2) + "\n")
