"""Whether the Flower of this machine shows what it knows to anybody."""

from __future__ import annotations

from contextlib import closing, suppress
from http.client import HTTPConnection, HTTPException

from memrepo_worker.cli.checks.check import Found
from memrepo_worker.local.ports import HOST
from memrepo_worker.settings import WorkerSettings

_TIMEOUT_S = 1.0
_OK = 200


def check_flower(settings: WorkerSettings) -> Found:
    """Look for a Flower at its port here, however it was started, and whether it asks who looks."""
    port, login = settings.flower_port, settings.flower_basic_auth
    warnings = []
    if login and not all(login.partition(":")[::2]):
        warnings.append("MEMREPO_FLOWER_BASIC_AUTH is no user and password: write USER:PASSWORD")
    if not port or _ask(port, "/healthcheck") != (_OK, b"OK"):
        return Found(f"none at port {port} of this machine", tuple(warnings))
    status, _ = _ask(port, "/workers")
    if status == _OK:
        warnings.append(
            f"the one at port {port} asks nobody for a password, so that whoever reaches it reads whose memories there "
            "are: start it with `memrepo flower`, which does, and set MEMREPO_FLOWER_BASIC_AUTH=USER:PASSWORD"
        )
        return Found(f"http://{HOST}:{port}", tuple(warnings))
    return Found(f"http://{HOST}:{port}, asks for a password", tuple(warnings))


def _ask(port: int, path: str) -> tuple[int, bytes]:
    """Return status and the beginning of what is answered; 0 where nobody does."""
    with (
        suppress(OSError, HTTPException),
        closing(HTTPConnection(HOST, port, timeout=_TIMEOUT_S)) as connection,
    ):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read(100)
    return 0, b""
