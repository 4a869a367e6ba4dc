"""What agents, and whoever reaches the broker, can do to the others: a round of each load is one call."""

from __future__ import annotations

import json
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache, partial
from random import Random
from typing import Any
from uuid import uuid4

from memrepo import Job, JobTimeoutError, MemoryRepo, MemoryRepoError, MemoryRepos
from memrepo.limits import MIB
from memrepo.routing import route
from memrepo.wire.keys import REPLIES_PREFIX, record_key
from tests.support.sending import Sender, commit_request
from tests.support.valkey import Valkey

ORG = "evil"
REFUSED = "refused"
"""An agent of that organisation whose store does not let it in, where the test has a store that does so."""

_LINE = 24


@dataclass
class Hostile:
    """A client, the broker itself, and a size: 1 is what each load was found with.

    ``note`` is called for each request that was answered, and for each message that nobody answers once it is sent.
    """

    repos: MemoryRepos
    broker: Valkey
    sender: Sender
    size: float = 1.0
    shards: int = 64
    wait_s: float = 60.0
    note: Callable[[], None] = lambda: None
    random: Random = field(default_factory=lambda: Random(5))
    _ready: set[str] = field(default_factory=set)

    def loads(self) -> Mapping[str, Callable[[], None]]:
        """Return every load by its name."""
        return {
            "files of newlines": self.files_of_newlines,
            "reads of 60 KB": self.reads_of_60_kb,
            "histories of large files": self.histories_of_large_files,
            "diffs of new files": self.diffs_of_new_files,
            "large commits": self.large_commits,
            "a deep group": self.a_deep_group,
            "forged messages": self.forged_messages,
            "a forged record": self.a_forged_record,
            "bodies that unpack": self.bodies_that_unpack,
            "a refused prefix": self.a_refused_prefix,
            "lines of one letter": self.lines_of_one_letter,
            "conflicting merges": self.conflicting_merges,
        }

    def files_of_newlines(self) -> None:
        """Write files of line breaks alone, as many bytes as a request may have, to four agents."""
        text = "\n" * int(7.9 * MIB * self.size)
        changes = {f"{number}.md": text for number in range(4)}
        jobs = [self._commit(f"newlines-{agent}", changes) for agent in range(4)]
        self._wait(jobs)

    def reads_of_60_kb(self) -> None:
        """Read a file often, and fetch none of the answers."""
        repo = self._repo("reader")
        if "reader" not in self._ready:
            self._wait([self._commit("reader", {"a.md": "x" * 60_000})])
            self._ready.add("reader")
        self._wait([self._ask(lambda: repo.get_file("a.md")) for _ in range(int(1_000 * self.size))])

    def histories_of_large_files(self) -> None:
        """Ask for histories whose files were shuffled from commit to commit."""
        repo = self._repo("historian")
        if "historian" not in self._ready:
            for _ in range(3):
                changes = {f"{number}.txt": self._shuffled(int(1.7e6 * self.size)) for number in range(4)}
                self._wait([self._commit("historian", changes)])
            self._ready.add("historian")
        jobs = [self._ask(lambda: repo.get_history(limit=1_000)) for _ in range(int(128 * self.size) + 1)]
        self._wait(jobs)

    def diffs_of_new_files(self) -> None:
        """Ask for patches of line breaks alone, as many bytes as an answer may have."""
        repo = self._repo("differ")
        if "differ" not in self._ready:
            text = "\n" * int(7.9 * MIB * self.size)
            for changes in ({"a.md": "x"}, {"b.md": text, "c.md": text}):
                self._wait([self._commit("differ", changes)])
            self._ready.add("differ")
        jobs = [self._ask(lambda: repo.diff("HEAD~1", "HEAD")) for _ in range(int(7 * self.size) + 1)]
        self._wait(jobs)

    def large_commits(self) -> None:
        """Write what compresses badly."""
        files = {f"{number}.bin": self.random.randbytes(int(7 * MIB * self.size)) for number in range(4)}
        self._wait([self._commit(f"large-{agent}", files) for agent in range(2)])

    def a_deep_group(self) -> None:
        """Write a lot to one agent at once."""
        self._wait([self._commit("deep", {"a.md": str(number)}) for number in range(int(1_000 * self.size))])

    def lines_of_one_letter(self) -> None:
        """Write what takes longest to be compared: 16 files of lines that are nearly all alike, and never in order."""
        self._wait([self._commit("letters", self._files_of_letters(125_000))])

    def conflicting_merges(self) -> None:
        """Ask for merges of such files, all of which conflict."""
        repo = self._repo("merger")
        if "merger" not in self._ready:
            self._wait([self._commit("merger", self._files_of_letters(64_000))])
            self._wait([self._ask(lambda: repo.create_branch("theirs"))])
            for branch in ("main", "theirs"):
                files = self._files_of_letters(64_000)
                self._wait([self._ask(partial(repo.commit, files, "m", branch=branch))])
            self._ready.add("merger")
        self._wait([self._ask(lambda: repo.preview_merge("theirs")), self._ask(lambda: repo.merge("theirs"))])

    def forged_messages(self) -> None:
        """Push what is no request of ours into a healthy agent's queue, and others."""
        queues = [route(ORG, f"forged-{number}", self.shards) for number in range(8)]
        deep = b"[" * 100_000
        with self.broker.client() as client:
            for queue in queues:
                client.lpush(queue, "[" * 1_000, '{"a":' * 50_000, "{}", b"\xff\xfe")
                self.note()
        for number, queue in enumerate(queues):
            request = commit_request(ORG, f"forged-{number}")
            headers = {"task": "memrepo.commit", "id": f"a\nb\x1b[31m{uuid4()}"}
            for raw, kind in ((deep, "application/json"), (b"x", "a\r\nb\x1b[2J")):
                self.sender.producer.publish(
                    raw, routing_key=queue, content_type=kind, content_encoding="binary", headers=headers
                )
            chord = {"task": "celery.chord_unlock", "id": str(uuid4())}
            self.sender.send(request, headers=chord, task_id=chord["id"])
            self.note()

    def a_forged_record(self) -> None:
        """Tell every client of a job that ended with deep JSON."""
        with self.broker.client() as client:
            for channel in client.pubsub_channels(f"{REPLIES_PREFIX}*"):
                client.publish(channel, '{"status": "SUCCESS", "result": ' + "[" * 100_000)
                self.note()
            record = '{"status": "SUCCESS", "task_id": "forged", "result": ' + "[" * 100_000
            client.set(record_key("forged"), record, ex=60)

    def bodies_that_unpack(self) -> None:
        """Send small bodies that unpack to a lot of JSON."""
        for number in range(6):
            request = commit_request(ORG, f"bomb-{number}")
            packed = _packed(int(21 * MIB * self.size))
            headers = {"task": "memrepo.commit", "id": str(uuid4()), "compression": "application/x-gzip"}
            self.sender.producer.publish(
                packed,
                routing_key=route(ORG, request.agent_id, self.shards),
                content_type="application/json",
                content_encoding="binary",
                headers=headers,
            )
            many = json.dumps([{}] * int(20_000 * self.size))
            self.sender.send(request, body=f'[[], {{"request": {many}}}, {{}}]')
            self.note()

    def a_refused_prefix(self) -> None:
        """Write to an agent that the store refuses; nobody waits for that."""
        for _ in range(3):
            self._commit(REFUSED, {"a.md": "x"})
            self.note()

    def answers(self, agent: str, *calls: Callable[[MemoryRepo], Job[Any]]) -> None:
        """Ask for something of an agent's memory, and wait for the answers."""
        repo = self._repo(agent)
        self._wait([self._ask(partial(call, repo)) for call in calls])

    def _repo(self, agent: str) -> MemoryRepo:
        return self.repos.repo(org_id=ORG, agent_id=agent)

    def _commit(self, agent: str, changes: Mapping[str, str | bytes]) -> Job[object] | None:
        return self._ask(lambda: self._repo(agent).commit(changes, "m", create_repo_if_missing=True))

    def _ask(self, call: Callable[[], Job[object]]) -> Job[object] | None:
        with suppress(MemoryRepoError):  # the broker is away, or full: as it may be
            job = call()
            job.pending.look_at()
            return job
        return None

    def _wait(self, jobs: list[Job[object] | None]) -> None:
        until_s = time.monotonic() + self.wait_s
        for job in jobs:
            if job is not None:
                try:
                    job.result(timeout_s=max(0.0, until_s - time.monotonic()))
                except JobTimeoutError:
                    continue
                except MemoryRepoError:
                    pass  # a refusal is an answer, too
                self.note()

    def _files_of_letters(self, size_bytes: int) -> dict[str, bytes]:
        text = bytes(self.random.choices(b"ab", k=int(16 * size_bytes * self.size) // 2))
        lines = text.replace(b"a", b"a\n").replace(b"b", b"b\n")
        each = len(lines) // 32 * 2
        return {f"{number}.txt": lines[number * each : (number + 1) * each] for number in range(16)}

    def _shuffled(self, size_bytes: int) -> str:
        lines = [f"{number:0{_LINE - 1}d}\n" for number in range(size_bytes // _LINE)]
        self.random.shuffle(lines)
        return "".join(lines)


@cache
def _packed(objects: int) -> bytes:
    return zlib.compress(b'[[], {"request": [' + b"{}," * objects + b"{}]}, {}]")
