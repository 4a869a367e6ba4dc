"""A process that does one hostile load after the other, so that whoever measures its neighbours is not busy with it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import redis

from benchmarks.hostile_bucket import BucketWriter
from benchmarks.lab import Bench, Lab
from memrepo import MemoryRepos, Settings
from memrepo_worker.store.open import open_store
from tests.support.hostile import Hostile
from tests.support.sending import sender
from tests.support.valkey import Valkey

REST_S = 0.25
"""Between rounds: what one of them does is measured, not how many a broker takes in."""

NICENESS = 5
"""How far the load's own client stands back: elsewhere it is on another machine than the worker. That it goes on all
the same is measured, too."""


@dataclass
class Database(Valkey):
    """One database of a server that runs already."""

    number: int = 0

    @property
    def url(self) -> str:
        """Its address."""
        return self.database(self.number)

    def client(self, database: int | None = None) -> redis.Redis:
        """Return a client that gives text."""
        return super().client(self.number if database is None else database)

    def raw_client(self, database: int | None = None) -> redis.Redis:
        """Return a client that gives bytes."""
        return super().raw_client(self.number if database is None else database)


@contextmanager
def doing_harm(lab: Lab, bench: Bench, load: str) -> Iterator[Path]:
    """Do one load round after round until the block ends; gives a file with a byte for each request answered."""
    folder = lab.new_folder(f"hostile-to-{bench.pid}")
    sign = folder / "answered"
    number = int(bench.settings.broker_url.rpartition("/")[2])
    store_url = json.loads(bench.job)["settings"]["store_url"]
    job = json.dumps(
        {"port": lab.valkey.port, "number": number, "load": load, "sign": str(sign), "store_url": store_url}
    )
    with lab.process("benchmarks.hostile_load", job, folder=folder, ready=sign.exists):
        yield sign


def _harm(port: int, number: int, load: str, sign: str, store_url: str) -> None:
    os.nice(NICENESS)
    server = Database(Path(), port, number=number)
    settings = Settings(server.url, server.url, enqueue_timeout_s=30.0)
    with (
        MemoryRepos(settings=settings) as repos,
        sender(server, settings.shards) as sending,
        Path(f"{sign}.new").open("ab", buffering=0) as file,
    ):
        hostile = Hostile(repos, server, sending, note=lambda: _write(file))
        with_bucket = BucketWriter(open_store(store_url), hostile).loads()
        do = with_bucket[load]() if load in with_bucket else hostile.loads()[load]
        Path(f"{sign}.new").rename(sign)  # it is ready
        while True:
            with suppress(redis.RedisError):
                do()
            time.sleep(REST_S)


def _write(file: IO[bytes]) -> None:
    file.write(b".")


if __name__ == "__main__":
    _harm(**json.loads(sys.argv[1]))
