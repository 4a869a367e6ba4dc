"""Faults that a review of the journal and the warm repositories found; each test is named after one."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from memrepo.errors import InvalidRequestError, RepoNotFoundError, RequestExpiredError, TooLargeError
from memrepo.limits import Limits
from memrepo.validation.values import check_path
from memrepo.wire.requests.reads import GetHistoryRequest
from memrepo_worker.git.objects import GitObject, Kind, TreeEntry, object_id
from memrepo_worker.group import Agent, Lease
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.repos import warm as warm_module
from memrepo_worker.repos.cache import RepoCache
from memrepo_worker.repos.state import RepoState, sha256_of
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import UnavailableError, Version, When
from tests.support.hooked_store import HookedStore
from tests.support.stock_git import empty_repository, git, restore, stock_git
from tests.support.writers import AGENT, NOW_S, Writer, commit, create, delete, files, writer

FOLDER = "acme/agent-1/repo.git"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def one(store: LocalStore, tmp_path: Path) -> Iterator[Writer]:
    with writer(store, tmp_path / "one") as one:
        yield one


@pytest.fixture
def transfer(store: LocalStore) -> Iterator[Transfer]:
    with ThreadPoolExecutor(4) as executor:
        yield Transfer(store, stock_git(), executor, lambda: NOW_S, Limits())


def sizes(store: LocalStore) -> dict[str, int]:
    return {item.key.removeprefix(f"{FOLDER}/"): item.size for item in store.list(f"{FOLDER}/")}


def assert_only_the_seal_keeps_bytes(store: LocalStore) -> None:
    found = sizes(store)
    assert len([key for key in found if key.startswith("base/")]) == 1, found
    assert len([key for key, size in found.items() if key.startswith("journal/") and size]) == 1, found


def test_a_second_delete_never_frees_its_bytes(one: Writer, store: LocalStore) -> None:
    for _ in range(3):
        one.ask(create(secret="x"))
        one.ask(delete())
        assert_only_the_seal_keeps_bytes(store)


def test_a_second_delete_met_by_a_writer_that_cleaned_the_first_never_frees_its_bytes(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "two") as two:
        one.ask(create())
        one.ask(delete())
        with suppress(RepoNotFoundError):
            two.ask(files())
        one.ask(create(secret="x"))
        request = delete()
        one.ask(request)
        two.new_lease()
        two.ask(request)
    assert_only_the_seal_keeps_bytes(store)


def test_a_seal_holds_the_content_that_was_committed_in_its_group(one: Writer, store: LocalStore) -> None:
    one.ask(create())

    committed, _, deleted = one.group(commit("secret", {"secret": "content" * 50}), files(), delete())

    assert committed.created
    assert deleted is None
    assert_only_the_seal_keeps_bytes(store)
    seal = next(key for key, size in sizes(store).items() if key.startswith("journal/") and size)
    data = store.get(f"{FOLDER}/{seal}").data
    assert int.from_bytes(data[data.index(b"PACK") + 8 :][:4]) == 1, "the seal holds more than its ledger"


def test_a_large_comparison_holds_up_every_other_thread(one: Writer) -> None:
    rnd = Random(1)
    lines = [b"%d\n" % number for number in range(60_000)]
    contents = []
    for _ in range(2):
        rnd.shuffle(lines)
        contents.append(b"".join(lines))
    one.ask(create())
    one.ask(commit("before", {"big": contents[0].decode()}))
    started = one.counters.snapshot().get("process.started", 0)

    result = one.ask(commit("after", {"big": contents[1].decode()}))

    assert one.counters.snapshot()["process.started"] == started + 1, "compared in this process"
    assert result.additions == result.deletions > 0


def test_a_comparison_that_takes_too_long_counts_all_lines(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memrepo_worker.git.command._COMPARE_TIMEOUT_S", 0.000001)
    contents = [GitObject(Kind.BLOB, (b"%d\n" % number) * 60_000) for number in range(2)]
    one.ask(create(big=contents[0].data.decode()))
    one.ask(commit("next", {"big": contents[1].data.decode()}))
    repo = one.warm()

    compared = repo.compare(*(TreeEntry("100644", object_id(item)) for item in contents))

    assert (compared.additions, compared.deletions) == (60_000, 60_000)


def test_a_full_disk_under_the_cache_makes_committed_requests_fail(
    one: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create())
    replace = warm_module._replace

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(warm_module, "_replace", full)
    results = [one.ask(commit(f"step {number}")) for number in range(70)]
    monkeypatch.setattr(warm_module, "_replace", replace)

    assert all(result.created for result in results)
    assert one.messages() == ["Initial commit", *(f"step {number}" for number in range(70))]


def test_a_broken_disk_while_opening_is_an_outage_and_not_a_verdict(
    one: Writer, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one.ask(create())
    with writer(store, tmp_path / "two") as two:

        def broken(*_args: object) -> None:
            raise OSError(5, "Input/output error")

        with monkeypatch.context() as patch:
            patch.setattr("memrepo_worker.repos.warm.WarmRepo.empty", broken)
            with pytest.raises(UnavailableError, match="cache folder"):
                two.ask(commit("later"))

        assert two.ask(commit("later")).created


def spoil_a_digit(state: bytes) -> bytes:
    position = state.index(b'"refs/heads/side": "') + 20
    return (
        state[:position] + (b"0" if state[position : position + 1] != b"0" else b"1") + state[position + 1 :]
    )


def give_other_types(state: bytes) -> bytes:
    body = json.dumps({**json.loads(state.partition(b"\n")[2]), "refs": 7, "ledger": []}).encode()
    return sha256_of(body).encode() + b"\n" + body


def cut(state: bytes) -> bytes:
    return state[: len(state) // 2]


@pytest.mark.parametrize("spoil", [spoil_a_digit, give_other_types, cut, lambda _: b""])
def test_a_spoilt_state_in_the_cache_makes_the_journal_unreadable(
    spoil: Callable[[bytes], bytes], store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
        one.ask(commit("aside", branch="side"))
    (path,) = (tmp_path / "one").rglob("memrepo.json")
    path.write_bytes(spoil(path.read_bytes()))

    with writer(store, tmp_path / "one") as again, writer(store, tmp_path / "two") as other:
        assert again.ask(commit("on main")).created
        assert other.messages() == ["Initial commit", "on main"]
    restore(tmp_path / "store" / FOLDER, tmp_path / "restored.git")


def test_a_state_that_is_read_back_is_the_one_that_was_written() -> None:
    state = RepoState(3, {"refs/heads/main": "a" * 40}, tip_sha256="b", seal=1)

    again = RepoState.decode(state.encode())

    assert (again.seq, again.refs, again.tip_sha256, again.seal) == (3, state.refs, "b", 1)


@pytest.mark.parametrize("branch", ["main/x", "Main"])
def test_a_repository_begins_with_main_beside_a_branch_that_git_cannot_keep_there(
    branch: str, one: Writer, store: LocalStore
) -> None:
    with pytest.raises(InvalidRequestError):
        one.ask(commit("begin", branch=branch, create_repo_if_missing=True))

    with pytest.raises(RepoNotFoundError):
        one.ask(files())


def bundle_with_a_merge(tmp_path: Path, dates: Sequence[int] = (100, 200, 300, 400)) -> Path:
    """A history base, left, right, merge with these dates, as a bundle made by stock git."""
    repo = empty_repository(tmp_path / "merge.git")
    tree = git(repo, "mktree").decode().strip()

    def make(message: str, date: int, *parents: str) -> str:
        lines = [f"tree {tree}", *(f"parent {parent}" for parent in parents)]
        lines += [f"{who} A <a@example.org> {date} +0000" for who in ("author", "committer")]
        text = "\n".join(lines) + f"\n\n{message}\n"
        return git(repo, "hash-object", "-t", "commit", "-w", "--stdin", stdin=text.encode()).decode().strip()

    base = make("base", dates[0])
    left, right = make("left", dates[1], base), make("right", dates[2], base)
    git(repo, "update-ref", "refs/heads/main", make("merge", dates[3], left, right))
    git(repo, "bundle", "create", "--quiet", str(tmp_path / "merge.bundle"), "--all")
    return tmp_path / "merge.bundle"


def page(limit: int, after: str | None = None) -> GetHistoryRequest:
    return GetHistoryRequest(
        org_id="acme", agent_id="agent-1", request_id="reading-1", enqueued_at=NOW_S, limit=limit, after=after
    )


def test_paging_through_a_merge_loses_commits(one: Writer, transfer: Transfer, tmp_path: Path) -> None:
    transfer.import_(AGENT, bundle_with_a_merge(tmp_path))
    whole = [item.message for item in one.ask(page(10))]

    paged, after = [], None
    while found := one.ask(page(1, after)):
        paged.append(found[0].message)
        after = found[0].sha

    assert paged == whole
    assert sorted(whole) == ["base", "left", "merge", "right"]


def test_a_commit_dated_after_the_year_9999_makes_history_unusable(
    one: Writer, transfer: Transfer, tmp_path: Path
) -> None:
    transfer.import_(AGENT, bundle_with_a_merge(tmp_path, dates=(100, 200, 300, 300_000_000_000)))

    assert one.ask(page(1))[0].timestamp.year == 9999


def test_import_over_an_unfinished_delete_leaves_the_deleted_bytes_for_ever(
    store: LocalStore, transfer: Transfer, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    with writer(hooked, tmp_path / "one") as one:
        one.ask(create(secret="x"))

        def crash() -> None:
            raise KeyboardInterrupt

        hooked.after_put = crash
        with suppress(KeyboardInterrupt):
            one.ask(delete())
        bundle = bundle_with_a_merge(tmp_path)

        from memrepo.errors import RepoExistsError

        with pytest.raises(RepoExistsError, match="being deleted"):
            transfer.import_(AGENT, bundle)
        one.new_lease()
        with suppress(RepoNotFoundError):
            one.ask(files())
        transfer.import_(AGENT, bundle)

    assert sizes(store)["journal/00000000000000000001.bundle"] == 0


def test_a_worker_that_met_a_deleted_memory_does_not_see_an_import(
    one: Writer, transfer: Transfer, tmp_path: Path
) -> None:
    one.ask(create())
    one.ask(delete())

    transfer.import_(AGENT, bundle_with_a_merge(tmp_path))

    assert one.ask(page(1))[0].message == "merge"


def test_a_request_is_refused_as_expired_while_its_create_is_under_way(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    request = commit("slow")
    with writer(hooked, tmp_path / "one") as one:
        one.ask(create())
        put = hooked._store.put
        late = []

        def lost(key: str, data: bytes, when: When) -> Version:
            late.append((key, data, when))
            raise UnavailableError("under way")

        hooked._store = Standin(store, lost)
        with pytest.raises(UnavailableError):
            one.ask(request)
        hooked._store = store
        object.__setattr__(one.service.dependencies, "clock", lambda: NOW_S + 90_000)

        with pytest.raises(RequestExpiredError):
            one.ask(request)

        with suppress(Exception):
            put(*late[0])
        one.new_lease()
        with pytest.raises(RequestExpiredError):
            one.ask(request)


class Standin(StoreDecorator):
    """A store whose puts go elsewhere."""

    def __init__(self, store: LocalStore, put: Callable[[str, bytes, When], Version]) -> None:
        super().__init__(store)
        self._put = put

    def put(self, key: str, data: bytes, when: When) -> Version:
        return self._put(key, data, when)


def test_a_valid_deep_path_fails_as_an_internal_fault(one: Writer) -> None:
    deepest = "/".join("d" * 1 for _ in range(Limits().path_depth_max))
    one.ask(create())

    assert one.ask(commit("deep", {deepest: "x"})).created
    with pytest.raises(TooLargeError, match="path_depth_max"):
        check_path(f"{deepest}/d", Limits(), "path")


def test_a_commit_before_the_create_of_its_group_succeeds_when_the_answer_was_lost(
    store: LocalStore, tmp_path: Path
) -> None:
    hooked = HookedStore(store)
    early, begin = commit("early"), create()
    with writer(hooked, tmp_path / "one") as one, writer(store, tmp_path / "two") as two:

        def crash() -> None:
            raise KeyboardInterrupt

        hooked.after_put = crash
        with suppress(KeyboardInterrupt):
            one.group(early, begin)

        outcomes = two.group(early, begin)

    assert isinstance(outcomes[0], RepoNotFoundError)
    assert outcomes[1].created


def test_a_store_that_was_emptied_under_a_warm_repository_is_not_noticed(
    one: Writer, store: LocalStore, tmp_path: Path
) -> None:
    one.ask(create())
    one.ask(commit("old"))
    shutil.rmtree(tmp_path / "store" / "acme")
    one.new_lease()

    with pytest.raises(RepoNotFoundError):
        one.ask(files())
    one.ask(create(new="life"))

    with writer(store, tmp_path / "two") as two:
        assert two.texts() == {"new": "life"}


def test_a_store_that_was_emptied_while_the_worker_was_down_is_not_noticed(
    store: LocalStore, tmp_path: Path
) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
    shutil.rmtree(tmp_path / "store" / "acme")

    with writer(store, tmp_path / "one") as again, pytest.raises(RepoNotFoundError):
        again.ask(files())


def test_the_cache_folder_only_grows(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        cache = one.service.cache
        cache._repos_max = 3
        for number in range(8):
            one.agent = Agent("acme", f"agent-{number}")
            one.ask(create().model_copy(update={"agent_id": one.agent.agent_id}))
        assert len(cache) == 3
    assert len(list((tmp_path / "one").rglob("*.git"))) == 3

    counters = one.counters
    smaller = RepoCache(tmp_path / "one", store.name, stock_git(), counters, repos_max=1)
    smaller.close()
    assert len(list((tmp_path / "one").rglob("*.git"))) == 1


def test_a_name_that_macos_takes_for_a_neighbours_passes_in_two_commits(one: Writer) -> None:
    one.ask(create(café="composed"))

    with pytest.raises(InvalidRequestError):
        one.ask(commit("decomposed", {"cafe\u0301": "x"}))


def test_reading_writes_nothing_into_the_cache(store: LocalStore, tmp_path: Path) -> None:
    with writer(store, tmp_path / "one") as one:
        one.ask(create())
    with writer(store, tmp_path / "two") as two:
        two.ask(files())
        assert not list((tmp_path / "two").rglob("memrepo.json"))
    assert list((tmp_path / "two").rglob("memrepo.json")), "but a warm repository is kept over a restart"


def test_a_proof_ends_with_the_lease(one: Writer) -> None:
    one.ask(create())
    repo = one.warm()
    lease = Lease(one.lease_token, 100.0)

    assert repo.is_current(lease, 99.0)
    assert not repo.is_current(lease, 100.0)
    assert not repo.is_current(Lease("another", math.inf), 0.0)
