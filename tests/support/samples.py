"""A row for every operation: what the tests that concern each of them are driven by.

A new operation gets its row here, and with it the tests of digests, of hostile input, of results and what is shown of
them, of memories that were never created, and of what must not leak.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from memrepo import (
    Author,
    Branch,
    Change,
    ChangeFeed,
    CommitResult,
    Diff,
    FileDiff,
    FileInfo,
    Job,
    Match,
    MemoryCommit,
    MemoryFile,
    MemoryInfo,
    MemoryPage,
    MemoryRepo,
    MemoryRepoError,
    MergeConflict,
    MergePreview,
    MergeResult,
    Origin,
    RepoNotFoundError,
    RequestOutcome,
    Snapshot,
    Tag,
)
from memrepo.repo.listing import Listing
from memrepo.wire.requests.memories import EVERY_AGENT

PRIVATE: Mapping[str, str] = {
    "content": "planted-content",
    "message": "planted-message",
    "path": "planted-path",
    "e-mail": "planted@example.org",
    "author": "Planted Author",
}
"""What is planted in requests and results, and must be shown to nobody but who asked."""

AUTHOR = Author(name=PRIVATE["author"], email=PRIVATE["e-mail"])
PATH = f"{PRIVATE['path']}/file.md"
FILES: Mapping[str, str] = {PATH: PRIVATE["content"]}


@dataclass(frozen=True)
class Sample:
    """One operation.

    ``body`` is a harmless request as a message carries it, beside its head, and ``digest`` its digest as it stands in
    journals. ``result`` is an answer and ``shown`` what logs, events and Flower show of it. ``ask`` asks it of a
    memory, and ``of_nobody`` is the error where that was never created.
    """

    body: Mapping[str, Any]
    digest: str
    result: Any
    shown: str
    ask: Callable[[MemoryRepo], Job[Any]]
    of_nobody: type[MemoryRepoError] | None = RepoNotFoundError


HEAD: Mapping[str, Any] = {
    "org_id": "acme",
    "agent_id": "ann",
    "request_id": "request-1",
    "enqueued_at": 1.0,
}
"""Of each request that has one of the digests."""

SHA = "a" * 40
_CHANGES = [
    {"path": "/a.md", "content": "x"},
    {"path": "b.md", "content": None},
    {"path": "c.bin", "content": {"base64": "/w=="}, "executable": True, "expected_sha256": ""},
]
_ANN = {"name": "Ann", "email": "ann@example.org", "type": "user", "id": "7"}
COMMIT: Mapping[str, Any] = {
    "sha": SHA,
    "parent_sha": None,
    "message": PRIVATE["message"],
    "author_type": "agent",
    "author_id": None,
    "author_name": PRIVATE["author"],
    "author_email": PRIVATE["e-mail"],
    "timestamp": "2024-01-02T03:04:05Z",
    "files_changed": [PATH],
    "additions": 1,
    "deletions": 0,
    "request_id": None,
    "counts_exact": True,
}
"""What is said of a commit, as JSON."""

MADE = CommitResult(**COMMIT, branch="main", created=True)
_MADE_SHOWN = f"commit {SHA} main 1 files"
_FILE = MemoryFile(path=PATH, data=b"\xff" + PRIVATE["content"].encode(), sha=SHA, size=16)
_PATCH = FileDiff(
    path=PATH, status="added", additions=1, deletions=0, binary=False, patch=f"+{PRIVATE['content']}"
)

SAMPLES: Mapping[str, Sample] = {
    "create_repo": Sample(
        body={"initial_files": _CHANGES[:1], "author": _ANN},
        digest="d3e4af8781e2e98b3bd0eac1b2aecffa",
        result=MADE,
        shown=_MADE_SHOWN,
        ask=lambda repo: repo.create_repo(FILES, author=AUTHOR),
        of_nobody=None,
    ),
    "commit": Sample(
        body={"changes": _CHANGES, "message": "m", "branch": "draft", "author": _ANN},
        digest="5f9b7a662382a66ba89a720aa6a270a4",
        result=MADE,
        shown=_MADE_SHOWN,
        ask=lambda repo: repo.commit({PATH: PRIVATE["content"] * 2}, PRIVATE["message"], author=AUTHOR),
    ),
    "get_files": Sample(
        body={"ref": "draft", "paths": ["a.md"]},
        digest="a9e5d2b2288b337151236609c5e9aa3b",
        result=Snapshot(commit_sha=SHA, files={PATH: _FILE}),
        shown=f"{SHA} 1 files 16 bytes",
        ask=lambda repo: repo.get_files(),
    ),
    "get_file": Sample(
        body={"path": "a.md"},
        digest="9e8b52beb1f12d9c12d2482b5739cf55",
        result=_FILE,
        shown=f"{SHA} 16 bytes",
        ask=lambda repo: repo.get_file(PATH),
    ),
    "list_files": Sample(
        body={"prefix": "a", "limit": 7, "after": "a.md"},
        digest="047b77fd8c8e0897b9c9211d3ea95bb2",
        result=[FileInfo(path=PATH, sha=SHA, size=16)],
        shown="1 items",
        ask=lambda repo: repo.list_files(PRIVATE["path"]),
    ),
    "get_history": Sample(
        body={"path": "a.md", "limit": 7},
        digest="ffe360e99be365f0e976de42a5afb27a",
        result=[MemoryCommit(**COMMIT)],
        shown="1 items",
        ask=lambda repo: repo.get_history(PATH),
    ),
    "get_changes": Sample(
        body={"after": 7, "limit": 5},
        digest="a8d735ab7bbcf2448dd1b78fcd83c8b2",
        result=ChangeFeed(
            changes=[
                Change(
                    seq=8,
                    ref="refs/heads/main",
                    old=None,
                    new=SHA,
                    commits=[SHA],
                    request_ids=["request-1"],
                    at=datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
                    resume_after=8,
                )
            ],
            seq=8,
            newest=9,
        ),
        shown="1 items",
        ask=lambda repo: repo.get_changes(),
        of_nobody=None,
    ),
    "list_memories": Sample(
        body={"agent_id": EVERY_AGENT, "prefix": "ann", "limit": 7, "after": "ann-1"},
        digest="0c3405d3d460cc35c2b7d0ebc97756a1",
        result=MemoryPage(memories=[MemoryInfo(org_id="acme", agent_id="ann-2")], next_after=None),
        shown="1 items",
        ask=lambda repo: Listing(repo._dispatcher, org_id=repo.org_id).list_memories("ann", 7, None),
        of_nobody=None,
    ),
    "search": Sample(
        body={"text": "tea", "ref": "draft", "paths": ["/a"], "regex": True, "context": 1},
        digest="fb1192902daf7130b302811afab1d958",
        result=[Match(path=PATH, line=1, text=PRIVATE["content"], before=[], after=[PRIVATE["content"]])],
        shown="1 items",
        ask=lambda repo: repo.search(PRIVATE["content"], paths=[PRIVATE["path"]]),
    ),
    "get_commit": Sample(
        body={"ref": "draft"},
        digest="537a775b5edc0d40beaa4314a6368e13",
        result=MemoryCommit(**COMMIT),
        shown=f"{SHA} 1 files",
        ask=lambda repo: repo.get_commit("main"),
    ),
    "get_head_sha": Sample(
        body={"branch": "draft"},
        digest="237fb6afa62cdd4e196890a8d9efa3bb",
        result=SHA,
        shown=SHA,
        ask=lambda repo: repo.get_head_sha(),
    ),
    "diff": Sample(
        body={"base": "draft", "target": "main"},
        digest="da0f3729c50fecd3ca2392b1da268d1e",
        result=Diff(base_sha=SHA, target_sha=SHA, files=[_PATCH]),
        shown=f"{SHA} {SHA} 1 files",
        ask=lambda repo: repo.diff("main~1", "main", paths=[PATH]),
    ),
    "restore": Sample(
        body={"ref": "draft", "paths": ["a.md"]},
        digest="2f9a66958c004079869fa5b705318954",
        result=MADE,
        shown=_MADE_SHOWN,
        ask=lambda repo: repo.restore("main~1", paths=[PATH], author=AUTHOR),
    ),
    "merge": Sample(
        body={"source": "draft", "resolutions": _CHANGES[:1]},
        digest="52e879aa996a6fecbd62ec6f864a00f5",
        result=MergeResult(sha=SHA, kind="merge", parents=[SHA, SHA], files_changed=[PATH]),
        shown=f"merge {SHA} 1 files",
        ask=lambda repo: repo.merge("main", message=PRIVATE["message"], author=AUTHOR, resolutions=FILES),
    ),
    "preview_merge": Sample(
        body={"source": "draft"},
        digest="475ef84acce189571cd3a2a0e586520e",
        result=MergePreview(
            source_sha=SHA,
            target_sha=SHA,
            base_sha=None,
            kind="merge",
            files_changed=[PATH],
            conflicts=[MergeConflict(path=PATH, kind="content", ours=_FILE)],
        ),
        shown=f"merge {SHA} {SHA} 1 conflicts",
        ask=lambda repo: repo.preview_merge("main", resolutions=FILES),
    ),
    "fork": Sample(
        body={"new_agent_id": "bob", "ref": "draft", "history": False},
        digest="d30e9011b0cbf305eb01acf1bc5604e3",
        result=MADE,
        shown=_MADE_SHOWN,
        ask=lambda repo: repo.fork("forked", author=AUTHOR),
    ),
    "get_origins": Sample(
        body={},
        digest="1b80b30bd5c22e173139cc7f773d6d81",
        result=[Origin(org_id="acme", agent_id="bob", sha=SHA, at=datetime(2024, 1, 2, tzinfo=UTC))],
        shown="1 items",
        ask=lambda repo: repo.get_origins(),
    ),
    "list_tags": Sample(
        body={},
        digest="9a768d5b95d07ad6fb0d0611caa20182",
        result=[Tag(name="v1", ref="refs/tags/v1", sha=SHA)],
        shown="1 items",
        ask=lambda repo: repo.list_tags(),
    ),
    "create_tag": Sample(
        body={"name": "v1", "ref": "draft"},
        digest="5fedf3c56d9c91314ed630fe77f1d357",
        result=Tag(name="v1", ref="refs/tags/v1", sha=SHA),
        shown=f"{SHA} v1",
        ask=lambda repo: repo.create_tag("v1"),
    ),
    "delete_tag": Sample(
        body={"name": "v1"},
        digest="c47142f9b3d34db75d06196471f14dc9",
        result=None,
        shown="done",
        ask=lambda repo: repo.delete_tag("v1"),
    ),
    "list_branches": Sample(
        body={},
        digest="755f9cbe51cd20c75dc4e7986bf08a9e",
        result=[Branch(name="main", sha=SHA)],
        shown="1 items",
        ask=lambda repo: repo.list_branches(),
    ),
    "find_request": Sample(
        body={"wanted": "request-0"},
        digest="b4bde90c7ae91eb3e164eed4f6c101f4",
        result=RequestOutcome(
            request_id="request-1", verdict="committed", sha=SHA, commit=MemoryCommit(**COMMIT)
        ),
        shown=f"committed {SHA}",
        ask=lambda repo: repo.find_request("planted-request-id"),
        of_nobody=None,
    ),
    "create_branch": Sample(
        body={"name": "draft"},
        digest="2930191c1d2b7b9d9e0c28f867556b54",
        result=Branch(name="main", sha=SHA),
        shown=f"{SHA} main",
        ask=lambda repo: repo.create_branch("draft"),
    ),
    "delete_branch": Sample(
        body={"name": "draft"},
        digest="9f284cc1b5ebd6c49c6d16ac607f7e14",
        result=None,
        shown="done",
        ask=lambda repo: repo.delete_branch("draft"),
    ),
    "delete_repo": Sample(
        body={},
        digest="bddf420ed2d8c88366aaa5037914c677",
        result=None,
        shown="done",
        ask=lambda repo: repo.delete_repo(),
    ),
}
"""By the operation's name."""


def ask_everything(repo: MemoryRepo) -> list[Job[Any]]:
    """Ask a memory that is not there yet everything, its creation first and its end last."""
    last = "delete_repo"
    return [SAMPLES[name].ask(repo) for name in (*(name for name in SAMPLES if name != last), last)]
