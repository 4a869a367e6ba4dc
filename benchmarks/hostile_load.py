"""A process that does one hostile load after the other, so that whoever measures its neighbours is not busy with it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import psutil
import redis

from benchmarks.hostile_bucket import BucketWriter
from benchmarks.lab import Bench, Lab
from benchmarks.prepared import ASIDE, Database, PreparedRounds, makers_settings
from memrepo import MemoryRepos, Settings
from memrepo_worker.store.open import open_store
from tests.support.hostile import Hostile
from tests.support.sending import sender

REST_S = 0.25
"""Between rounds: what one of them does is measured, not how many a broker takes in."""

ROUNDS: Mapping[str, int] = {
    "files of newlines": 18,
    "reads of 60 KB": 16,
    "histories of large files": 80,
    "diffs of new files": 24,
    "large commits": 8,
    "a deep group": 14,
    "lines of one letter": 16,
    "conflicting merges": 16,
}
"""How many rounds are made before anything is measured, of loads whose client has much to do for each, or for what is
answered (a diff is 50 MB of JSON, and eight at a time take a third of a core). A load that was quicker than these
stops, and its figure of requests answered says so. The others send a few messages a round."""

MADE_IN_S = 300.0


@dataclass(frozen=True)
class Load:
    """A process that does a load: what it has got done so far, and what that took of a processor."""

    pid: int
    sign: Path

    @property
    def answered(self) -> int:
        """How many of its requests were answered, or messages sent that nobody answers."""
        return self.sign.stat().st_size

    @property
    def cpu_s(self) -> float:
        """How long a processor has worked for its client."""
        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)


@contextmanager
def doing_harm(lab: Lab, bench: Bench, load: str) -> Iterator[Load]:
    """Do one load round after round until the block ends."""
    folder = lab.new_folder(f"hostile-to-{bench.pid}")
    sign = folder / "answered"
    number = int(bench.settings.broker_url.rpartition("/")[2])
    store_url = json.loads(bench.job)["settings"]["store_url"]
    job = json.dumps(
        {"port": lab.valkey.port, "number": number, "load": load, "sign": str(sign), "store_url": store_url}
    )
    with lab.process(
        "benchmarks.hostile_load", job, folder=folder, ready=sign.exists, timeout_s=MADE_IN_S
    ) as process:
        yield Load(process.pid, sign)


def _harm(port: int, number: int, load: str, sign: str, store_url: str) -> None:
    server = Database(Path(), port, number=number)
    settings = Settings(server.url, server.url, enqueue_timeout_s=30.0)
    with (
        MemoryRepos(settings=settings) as repos,
        sender(server, settings.shards) as sending,
        Path(f"{sign}.new").open("ab", buffering=0) as file,
    ):
        hostile = Hostile(repos, server, sending, note=lambda: _write(file))
        with_bucket = BucketWriter(open_store(store_url), hostile).loads()
        if load in with_bucket:
            do = with_bucket[load]()
        elif load in ROUNDS:
            do = _prepared(load, hostile, Database(Path(), port, number=ASIDE), number, settings)
        else:
            do = hostile.loads()[load]
        Path(f"{sign}.new").rename(sign)  # it is ready
        while True:
            with suppress(redis.RedisError):
                do()
            time.sleep(REST_S)


def _prepared(
    load: str, hostile: Hostile, aside: Database, number: int, settings: Settings
) -> Callable[[], None]:
    """Do a load once as its client does it, and make what it sends the next times."""
    hostile.loads()[load]()
    maker = makers_settings(settings, aside)
    rounds = PreparedRounds(aside, number, settings.shards)

    def ask(repos: MemoryRepos) -> None:
        replace(hostile, repos=repos, wait_s=0.0, note=lambda: None).loads()[load]()

    rounds.make(ROUNDS[load], ask, maker)
    return lambda: rounds.send(hostile.note, hostile.wait_s)


def _write(file: IO[bytes]) -> None:
    file.write(b".")


if __name__ == "__main__":
    _harm(**json.loads(sys.argv[1]))
