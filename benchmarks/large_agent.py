"""A process that is one very large agent: it makes its memory, or uses it, so that who measures others is not busy."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from benchmarks.lab import ORG, Bench, Lab
from benchmarks.texts import path
from memrepo import MemoryRepo, MemoryRepos, TooLargeError

COMMITS, COMMITS_LONG = 10, 100
"""Each has 1,000 files of 20 kB: 200 MB and 10,000 files in the short form, 2 GB and 100,000 files in the long one."""

FILES_EACH, FILE_BYTES = 1_000, 20_000
TIMEOUT_S = 600.0
REST_S = 0.25


@contextmanager
def growing(lab: Lab, bench: Bench, commits: int) -> Iterator[Callable[[], bool]]:
    """Have it make its memory; gives what says whether that is done."""
    sign = lab.new_folder(f"large-{lab.next_number()}") / "grown"
    job = {"broker_url": bench.settings.broker_url, "sign": str(sign), "commits": commits}
    with lab.process("benchmarks.large_agent", json.dumps(job), folder=sign.parent, ready=lambda: True):
        yield lambda: sign.exists() and bool(sign.read_text().endswith("done\n"))


@contextmanager
def in_use(lab: Lab, bench: Bench) -> Iterator[Callable[[], int]]:
    """Have it use its memory until the block ends; gives what says how many rounds are over."""
    sign = lab.new_folder(f"large-{lab.next_number()}") / "used"
    job = {"broker_url": bench.settings.broker_url, "sign": str(sign), "commits": 0}
    with lab.process("benchmarks.large_agent", json.dumps(job), folder=sign.parent, ready=sign.exists):
        yield lambda: len(sign.read_text().splitlines())


def main(broker_url: str, sign: str, commits: int) -> None:
    """Grow by so many commits and write ``done``; or use what is there for ever, and write a line a round."""
    random = Random(11)
    with MemoryRepos(broker_url=broker_url, result_url=broker_url) as repos:
        repo = repos.repo(org_id=ORG, agent_id="large")
        for number in range(commits):
            numbers = range(number * FILES_EACH, (number + 1) * FILES_EACH)
            files = {path(each): random.randbytes(FILE_BYTES) for each in numbers}
            repo.commit(files, "Learn much", create_repo_if_missing=True).result(TIMEOUT_S)
        while not commits:
            _use(repo, random)
            with Path(sign).open("a") as file:
                file.write("round\n")
            time.sleep(REST_S)
    Path(sign).write_text("done\n")
    time.sleep(TIMEOUT_S)


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
