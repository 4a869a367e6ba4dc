"""In a bucket with versioning what ``delete_repo`` freed stays as versions; a purge removes these, and nothing else."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from memrepo.errors import RepoNotFoundError
from memrepo_worker.journal.entry import encode_entry
from memrepo_worker.journal.layout import Layout
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS, RefusedError, Store, UnavailableError
from memrepo_worker.store.open import open_store
from memrepo_worker.store.versions import KeptVersion, Versioned
from memrepo_worker.upkeep.purging import NotPurgeableError, Purge, Purger
from tests.support.folding import fold, small_runs
from tests.support.gcs_server import VERSIONED_BUCKET, GcsServer
from tests.support.http_answers import Answer, answering
from tests.support.ports import LOOPBACK
from tests.support.seaweedfs import SeaweedFs
from tests.support.writers import AGENT, commit, create, delete, writer

LAYOUT = Layout.of(AGENT.org_id, AGENT.agent_id)
NEIGHBOUR = Layout.of(AGENT.org_id, AGENT.agent_id + "0")


@pytest.fixture(scope="module")
def addresses(s3_server: SeaweedFs, gcs_server: GcsServer) -> Iterator[dict[str, str]]:
    """A bucket with versioning of each kind."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in s3_server.environment.items():
            patch.setenv(name, value)
        yield {
            "s3": s3_server.versioned_url("purged"),
            "gcs": gcs_server.store_url("purged", bucket=VERSIONED_BUCKET),
        }


@pytest.fixture
def s3(addresses: dict[str, str]) -> Store:
    return open_store(addresses["s3"])


@pytest.fixture
def gcs(addresses: dict[str, str]) -> Store:
    return open_store(addresses["gcs"])


def purger(store: Store) -> Purger:
    assert isinstance(store, Versioned)
    return Purger(store, store, lambda: secrets.token_hex(8))


def versions(store: Store, prefix: str = LAYOUT.prefix) -> list[KeptVersion]:
    assert isinstance(store, Versioned)
    return [*store.versions(prefix)]


def old(store: Store, prefix: str = LAYOUT.prefix) -> list[KeptVersion]:
    return [version for version in versions(store, prefix) if not version.is_current]


def live_and_delete(bucket: Store, folder: Path) -> dict[str, int]:
    """Fill a memory with all that there can be, delete it, begin a new one; return what was there, and its sizes."""
    bucket.put(f"{NEIGHBOUR.prefix}journal/{1:020d}.bundle", b"theirs", ALWAYS)
    bucket.put(f"{NEIGHBOUR.prefix}journal/{1:020d}.bundle", b"theirs, again", ALWAYS)
    with writer(bucket, folder / "cache") as one, small_runs():
        bucket.put(f"{LAYOUT.prefix}objects/ab/cdef", b"a legacy file", ALWAYS)
        one.ask(create(human="a secret"))
        for number in range(12):
            one.ask(commit(f"number {number}"))
        assert fold(bucket, folder / "folding").made
        before = {item.key: item.size for item in bucket.list(LAYOUT.prefix)}
        one.ask(delete())
        one.ask(create(new="life"))
    bucket.put(LAYOUT.base(20), b"reserved", ALWAYS)
    bucket.put(LAYOUT.base(20), b"reserved again", ALWAYS)  # above the seal: not the delete's
    return before


def check_is_of_the_deleted(plan: Purge, before: dict[str, int]) -> None:
    freed = {(version.key, version.size) for version in plan.noncurrent}
    assert before.items() <= freed
    rooms = {key.removeprefix(LAYOUT.prefix).split("/")[0] for key, _ in freed}
    assert rooms == {"journal", "base", "segment", "objects"}
    assert plan.size >= sum(before.values())
    assert LAYOUT.base(20) not in {key for key, _ in freed}


def test_what_a_delete_freed_is_gone_and_the_memory_that_was_begun_since_is_whole(
    s3: Store, tmp_path: Path
) -> None:
    before = live_and_delete(s3, tmp_path)
    plan = purger(s3).plan(AGENT)
    check_is_of_the_deleted(plan, before)
    assert {version.key for version in plan.delete_markers} == {
        key for key in before if not key.startswith(LAYOUT.journal)
    }
    current = {item.key: item.size for item in s3.list("")}

    purger(s3).purge(AGENT, plan)

    assert [(version.key, version.size) for version in old(s3)] == [(LAYOUT.base(20), 8)]
    assert not [version for version in versions(s3) if version.is_removal]
    assert {item.key: item.size for item in s3.list("")} == current
    assert [version.size for version in old(s3, NEIGHBOUR.prefix)] == [6]
    assert not versions(s3, ".memrepo-probe/"), "what the trial wrote is gone with its versions"
    s3.delete([LAYOUT.base(20)])
    with writer(s3, tmp_path / "another cache") as other:
        assert other.texts() == {"new": "life"}
        other.ask(commit("more"))
    assert not purger(s3).plan(AGENT).any


def test_generations_are_planned_alike_and_a_server_that_cannot_remove_single_ones_is_refused(
    gcs: Store, tmp_path: Path
) -> None:
    before = live_and_delete(gcs, tmp_path)
    plan = purger(gcs).plan(AGENT)
    check_is_of_the_deleted(plan, before)
    assert plan.delete_markers == ()
    there = versions(gcs)

    with pytest.raises(NotPurgeableError, match="the removal of one version removes the object"):
        purger(gcs).purge(AGENT, plan)

    assert versions(gcs) == there


def test_a_generation_is_removed_by_its_number_for_good(gcs: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test server does not honour the number, so that what is asked of it is looked at."""
    gcs.put("asked/key", b"first", ALWAYS)
    gcs.put("asked/key", b"second", ALWAYS)
    (first,) = old(gcs, "asked/")
    asked: list[str] = []
    send = requests.Session.send

    def sending(
        session: requests.Session, request: requests.PreparedRequest, **options: Any
    ) -> requests.Response:
        asked.append(f"{request.method} {request.url}")
        return send(session, request, **options)

    monkeypatch.setattr(requests.Session, "send", sending)
    assert isinstance(gcs, Versioned)
    gcs.delete_versions([first])

    assert len(asked) == 1
    assert asked[0].startswith("DELETE ")
    assert f"/o/purged%2Fasked%2Fkey?generation={first.mark}" in asked[0]


@dataclass
class VersionedMemory(MemoryStore):
    """A store whose versions are what a test says; it notes in which order they are removed."""

    kept: list[KeptVersion] = field(default_factory=list)
    has_versioning: bool = True
    removed: list[KeptVersion] = field(default_factory=list)
    forgets: bool = True

    def __post_init__(self) -> None:
        super().__init__()

    def keeps_versions(self) -> bool:
        return self.has_versioning

    def versions(self, prefix: str) -> Iterator[KeptVersion]:
        current = [KeptVersion(item.key, "now", item.size, 10.0, True) for item in self.list(prefix)]
        kept = [version for version in self.kept if version.key.startswith(prefix)]
        return iter([*kept, *current])

    def delete_versions(self, versions: Iterable[KeptVersion]) -> None:
        for version in versions:
            self.removed.append(version)
            if self.forgets:
                self.kept.remove(version)


@pytest.fixture
def deleted(tmp_path: Path) -> VersionedMemory:
    """A store where a memory was deleted: its seal is entry 2."""
    store = VersionedMemory()
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(human="x"))
        one.ask(delete())
    return store


def legacy(mark: str, written_at_s: float, *, name: str = "HEAD", size: int = 5, **what: bool) -> KeptVersion:
    said = {"is_current": False, "is_removal": False, **what}
    return KeptVersion(f"{LAYOUT.prefix}{name}", mark, size, written_at_s, **said)


def test_of_foreign_files_only_what_was_there_before_the_delete_is_removed(deleted: VersionedMemory) -> None:
    came_before, came_after = legacy("1", 9.0), legacy("2", 11.0)
    removal = legacy("3", 12.0, size=0, is_current=True, is_removal=True)
    deleted.kept = [came_before, came_after, removal]

    plan = purger(deleted).plan(AGENT)

    assert plan == Purge((came_before,), ())


def test_a_delete_marker_goes_after_what_it_hides_and_stays_where_something_stays(
    deleted: VersionedMemory,
) -> None:
    hidden, hides = legacy("1", 9.0), legacy("2", 10.0, size=0, is_current=True, is_removal=True)
    stays = legacy("3", 11.0, name="config")
    hides_it = legacy("4", 10.0, name="config", size=0, is_current=True, is_removal=True)
    deleted.kept = [hides, hidden, hides_it, stays]
    plan = purger(deleted).plan(AGENT)

    purger(deleted).purge(AGENT, plan)

    assert deleted.removed == [hidden, hides]


def test_what_is_listed_still_is_told_as_not_removed(deleted: VersionedMemory) -> None:
    deleted.kept, deleted.forgets = [legacy("1", 9.0)], False

    with pytest.raises(UnavailableError, match="lists 1 of what was just removed"):
        purger(deleted).purge(AGENT, purger(deleted).plan(AGENT))


def test_a_base_of_the_memory_that_was_begun_since_is_not_taken_for_the_deletes(
    deleted: VersionedMemory,
) -> None:
    refs = {"refs/heads/main": "1" * 40}
    deleted.put(LAYOUT.base(9), encode_entry({}, refs, (), ()), ALWAYS)
    old_one, present = (KeptVersion(LAYOUT.entry(seq), "old", 500, 9.0, False) for seq in (1, 3))
    deleted.kept = [old_one, present]

    assert purger(deleted).plan(AGENT).noncurrent == (old_one,)


def test_where_no_delete_was_finished_nothing_is_purged(tmp_path: Path) -> None:
    store = VersionedMemory()
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(human="x"))
        one.ask(commit("more"))
    store.kept = [KeptVersion(LAYOUT.entry(1), "old", 500, 9.0, False)]

    with pytest.raises(RepoNotFoundError, match="no delete_repo was finished"):
        purger(store).plan(AGENT)


def test_a_delete_that_is_not_at_its_end_is_finished_before_a_purge(deleted: VersionedMemory) -> None:
    deleted.put(LAYOUT.entry(1), b"content", ALWAYS)

    with pytest.raises(NotPurgeableError, match="has not removed everything yet"):
        purger(deleted).plan(AGENT)


def test_a_bucket_without_versioning_is_told_and_one_whose_versioning_ended_is_purged(
    deleted: VersionedMemory,
) -> None:
    deleted.has_versioning = False
    with pytest.raises(NotPurgeableError, match="the bucket has no versioning"):
        purger(deleted).plan(AGENT)

    deleted.kept = [KeptVersion(LAYOUT.entry(1), "old", 500, 9.0, False)]
    assert purger(deleted).plan(AGENT).size == 500


@pytest.mark.parametrize(
    ("ask", "right"),
    [
        (lambda store: [*store.versions("acme/")], "s3:ListBucketVersions"),
        (lambda store: store.delete_versions([legacy("1", 9.0)]), "s3:DeleteObjectVersion"),
        (lambda store: store.keeps_versions(), "s3:GetBucketVersioning"),
    ],
    ids=["list", "delete", "versioning"],
)
def test_a_right_that_is_missing_is_named(
    ask: Callable[[Versioned], object], right: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with answering(Answer.of_s3(403, "AccessDenied", "Access Denied")) as port:
        store = open_store(f"s3://bucket?endpoint_url=http://{LOOPBACK}:{port}&region=eu-west-1")
        assert isinstance(store, Versioned)
        with pytest.raises(RefusedError, match=f"this takes the right {right}"):
            ask(store)
