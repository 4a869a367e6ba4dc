"""What a version of memrepo said, as ``tests.compatibility.record`` wrote it down."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.valkey import Valkey

FOLDER = Path(__file__).parent / "recorded"
VERSIONS = sorted(path.name for path in FOLDER.iterdir())
PAYLOAD_KEPT_S = 3600


@dataclass(frozen=True)
class Recording:
    """One version's messages, records, payloads and journals."""

    folder: Path
    values: dict[str, Any]

    @property
    def served_at_s(self) -> float:
        """When the requests were served: seconds since 1970-01-01 UTC."""
        return float(self.values["served_at"])

    @property
    def jobs(self) -> dict[str, str]:
        """The task id of each request, by a name for it."""
        return dict(self.values["jobs"])

    def record(self, name: str) -> dict[str, Any]:
        """Return the record of a request, as the version stored it."""
        return dict(json.loads(self.values["records"][f"celery-task-meta-{self.jobs[name]}"]))

    def put_queues(self, server: Valkey) -> None:
        """Put its messages and their payloads where its producers had put them."""
        self._put_payloads(server, "request_payloads")
        with server.client() as client:
            for one in self.values["queues"]:
                client.lpush(one["queue"], one["message"])

    def put_records(self, server: Valkey) -> None:
        """Put its records and their payloads where its workers had put them."""
        self._put_payloads(server, "result_payloads")
        with server.client() as client:
            for key, record in self.values["records"].items():
                client.set(key, record)

    def copy_store(self, target: Path) -> str:
        """Copy its folder store, and return the copy's URL."""
        shutil.copytree(self.folder / "store", target)
        return target.as_uri()

    def _put_payloads(self, server: Valkey, which: str) -> None:
        with server.raw_client() as client:
            for key, chunks in self.values[which].items():
                client.hset(key, mapping={number: base64.b64decode(data) for number, data in chunks.items()})
                client.expire(key, PAYLOAD_KEPT_S)


def recording_of(version: str) -> Recording:
    """Load a version's recording."""
    folder = FOLDER / version
    return Recording(folder, json.loads((folder / "recorded.json").read_text()))


def says_at_least(later: Any, earlier: Any) -> bool:
    """Whether a JSON value says all that an earlier version said: mappings may have grown, nothing else differs."""
    match earlier:
        case dict():
            return isinstance(later, dict) and all(
                key in later and says_at_least(later[key], value) for key, value in earlier.items()
            )
        case list():
            return (
                isinstance(later, list)
                and len(later) == len(earlier)
                and all(map(says_at_least, later, earlier))
            )
    return bool(later == earlier)
