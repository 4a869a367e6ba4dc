"""Two worker processes handed the same agent on purpose: the conditional create alone protects its history."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

from memrepo import MemoryRepos
from tests.support.stock_git import git, restore
from tests.support.systems import running_worker
from tests.support.valkey import valkey

COMMITS = 200


def test_no_acknowledged_commit_is_missing_or_doubled(tmp_path: Path) -> None:
    store_url = f"file://{tmp_path / 'store'}"
    with (
        valkey(tmp_path / "valkey") as broker,
        running_worker(tmp_path / "one", broker, store_url, database=0) as one,
        running_worker(tmp_path / "two", broker, store_url, database=1) as two,
        MemoryRepos(broker_url=one.broker_url) as repos_one,
        MemoryRepos(broker_url=two.broker_url) as repos_two,
    ):
        # Two brokers' worth of queues, so that each worker believes the agent to be its own.
        pair = [repos.repo(org_id="acme", agent_id="shared") for repos in (repos_one, repos_two)]
        pair[0].create_repo({"begin": "x"}).result(timeout_s=20)
        results = []
        for begin in range(0, COMMITS, 20):  # neither is through before the other has begun
            jobs = [
                repo.commit({f"{name}-{number}": "x"}, f"{name} {number}")
                for number in range(begin, begin + 20)
                for name, repo in zip(("one", "two"), pair, strict=True)
            ]
            results += [job.result(timeout_s=60) for job in jobs]

    restored = restore(tmp_path / "store" / "acme" / "shared" / "repo.git", tmp_path / "restored.git")
    git(restored, "fsck", "--strict")
    log = git(restored, "log", "--reverse", "--format=%H %s", "main").decode().splitlines()
    shas = Counter(line.split(" ", 1)[0] for line in log)
    assert all(shas[result.sha] == 1 for result in results)
    assert len({result.sha for result in results}) == 2 * COMMITS
    assert len(log) == 2 * COMMITS + 1
    writers = [line.split(" ")[1] for line in log[1:]]
    turns = sum(before != after for before, after in pairwise(writers))
    assert turns >= 2, "the two never met"
    for name in ("one", "two"):
        messages = [line.split(" ", 1)[1] for line in log if f" {name} " in line]
        assert messages == [f"{name} {number}" for number in range(COMMITS)]
