"""A process that is one very large agent: it makes its memory, or uses it, so that who measures others is not busy.

The commits by which it grows are made before anything is measured (see ``prepared``): 20 MB each take their client a
second of one of two cores, which elsewhere is another machine's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from random import Random
from typing import TextIO

from benchmarks.lab import ORG, Bench, Lab
from benchmarks.prepared import ASIDE, Database, PreparedRounds, makers_settings
from benchmarks.texts import path
from memrepo import MemoryRepo, MemoryRepos, Settings, TooLargeError

COMMITS, COMMITS_LONG = 10, 100
"""Each has 1,000 files of 20 kB: 200 MB and 10,000 files in the short form, 2 GB and 100,000 files in the long one."""

FILES_EACH, FILE_BYTES = 1_000, 20_000
TIMEOUT_S = 600.0
REST_S = 0.25


@contextmanager
def growing(lab: Lab, bench: Bench, commits: int) -> Iterator[Callable[[], int]]:
    """Have it make its memory, once its commits are ready to be sent; gives what says how many are answered."""
    sign = lab.new_folder(f"large-{lab.next_number()}") / "grown"
    job = {"port": lab.valkey.port, "number": _number(bench), "sign": str(sign), "commits": commits}
    with lab.process(
        "benchmarks.large_agent", json.dumps(job), folder=sign.parent, ready=sign.exists, timeout_s=TIMEOUT_S
    ):
        yield lambda: len(sign.read_text().splitlines())


@contextmanager
def in_use(lab: Lab, bench: Bench) -> Iterator[Callable[[], int]]:
    """Have it use its memory until the block ends; gives what says how many rounds are over."""
    sign = lab.new_folder(f"large-{lab.next_number()}") / "used"
    job = {"port": lab.valkey.port, "number": _number(bench), "sign": str(sign), "commits": 0}
    with lab.process("benchmarks.large_agent", json.dumps(job), folder=sign.parent, ready=sign.exists):
        yield lambda: len(sign.read_text().splitlines())


def _number(bench: Bench) -> int:
    """Return the number of the broker's database that a worker serves."""
    return int(bench.settings.broker_url.rpartition("/")[2])


def main(port: int, number: int, sign: str, commits: int) -> None:
    """Grow by so many commits, or use what is there for ever; a line is written for each commit, or round of use."""
    server = Database(Path(), port, number=number)
    settings = Settings(server.url, server.url)
    with Path(f"{sign}.new").open("w", buffering=1) as file:
        if commits:
            _grow(server, settings, commits, file, Path(sign))
        else:
            _go_on_using(settings, file, Path(sign))


def _grow(server: Database, settings: Settings, commits: int, file: TextIO, sign: Path) -> None:
    random, numbers = Random(11), count()
    aside = Database(Path(), server.port, number=ASIDE)
    rounds = PreparedRounds(aside, server.number, settings.shards)

    def ask(repos: MemoryRepos) -> None:
        first = next(numbers) * FILES_EACH
        files = {path(each): random.randbytes(FILE_BYTES) for each in range(first, first + FILES_EACH)}
        repos.repo(org_id=ORG, agent_id="large").commit(files, "Learn much", create_repo_if_missing=True)

    rounds.make(commits, ask, makers_settings(settings, aside))
    Path(f"{sign}.new").rename(sign)  # it is ready
    for _ in range(commits):
        rounds.send(lambda: _write(file), TIMEOUT_S)
    time.sleep(TIMEOUT_S)


def _go_on_using(settings: Settings, file: TextIO, sign: Path) -> None:
    random = Random(11)
    with MemoryRepos(settings=settings) as repos:
        repo = repos.repo(org_id=ORG, agent_id="large")
        _use(repo, random)
        Path(f"{sign}.new").rename(sign)
        while True:
            _use(repo, random)
            _write(file)
            time.sleep(REST_S)


def _write(file: TextIO) -> None:
    file.write("answered\n")


def _use(repo: MemoryRepo, random: Random) -> None:
    """Commit a file, read one, list some, look for one in the history, and ask for more than anybody may."""
    repo.commit({path(3): random.randbytes(FILE_BYTES)}, "Learn").result(TIMEOUT_S)
    repo.get_file(path(random.randrange(FILES_EACH))).result(TIMEOUT_S)
    repo.list_files(limit=1000).result(TIMEOUT_S)
    repo.get_history(path=path(3), limit=10).result(TIMEOUT_S)
    with suppress(TooLargeError):
        repo.get_files().result(TIMEOUT_S)


if __name__ == "__main__":
    main(**json.loads(sys.argv[1]))
