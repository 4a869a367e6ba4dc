"""A worker as users run it, started on a cache of which every memory's copy was spoilt in another way."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from memrepo import Diff, MemoryCommit, MemoryRepo, MemoryRepos
from tests.damage.ways import WAYS
from tests.support.systems import running_worker
from tests.support.valkey import Valkey, valkey

ANSWER_S = 60
SUFFIXES = (".pack", ".idx", ".json")


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    with valkey(tmp_path_factory.mktemp("valkey")) as server:
        yield server


@dataclass(frozen=True)
class Told:
    """What a memory's reads tell of it."""

    texts: dict[str, str]
    history: list[MemoryCommit]
    of_one_file: list[MemoryCommit]
    change: Diff


def tell(repo: MemoryRepo, ref: str) -> Told:
    """Read all there is at a commit."""
    files, change = repo.get_files(ref), repo.diff(f"{ref}~1", ref)
    history, of_one_file = repo.get_history(ref=ref), repo.get_history("a.md", ref=ref)
    texts = {path: file.text for path, file in files.result(timeout_s=ANSWER_S).items()}
    return Told(
        texts,
        history.result(timeout_s=ANSWER_S),
        of_one_file.result(timeout_s=ANSWER_S),
        change.result(timeout_s=ANSWER_S),
    )


def test_every_answer_is_as_before_and_commits_go_on(broker: Valkey, tmp_path: Path) -> None:
    ways = [(way, suffix) for way in WAYS for suffix in SUFFIXES]
    store, worker = (tmp_path / "store").as_uri(), tmp_path / "worker"
    with MemoryRepos(broker_url=broker.database(0)) as repos:
        memories = [repos.repo(org_id="acme", agent_id=f"agent-{number}") for number in range(len(ways))]
        with running_worker(worker, broker, store) as first:
            for repo in memories:
                repo.create_repo({"a.md": "1\n", "b.md": "2\n"})
            heads = [
                repo.commit({"a.md": "1\n2\n"}, "second").result(timeout_s=ANSWER_S) for repo in memories
            ]
            before = [tell(repo, head.sha) for repo, head in zip(memories, heads, strict=True)]
            ended = psutil.Process(first.worker_pid)
            ended.terminate()  # so that it leaves what it holds in its cache
            ended.wait(ANSWER_S)
        copies = sorted((worker / "cache").glob("slot-*/*/"))
        assert len(copies) == len(ways)
        for (way, suffix), copy in zip(ways, copies, strict=True):
            spoilt = list(copy.rglob(f"*{suffix}"))
            assert spoilt != []
            for path in spoilt:
                WAYS[way](path)

        with running_worker(worker, broker, store):
            made = [repo.commit({"c.md": "3\n"}, "third") for repo in memories]
            after = [tell(repo, head.sha) for repo, head in zip(memories, heads, strict=True)]
            for head, job in zip(heads, made, strict=True):
                assert job.result(timeout_s=ANSWER_S).parent_sha == head.sha

    assert after == before
