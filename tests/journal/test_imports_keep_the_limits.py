"""What is imported keeps the rules of what is committed, or says what it lets through; and claims nothing of ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from memrepo.errors import InvalidRequestError, MemoryDamagedError
from memrepo.limits import MIB, Limits
from memrepo_worker.cli.failures import failure_of
from memrepo_worker.git.bundles import decode_bundle, encode_bundle
from memrepo_worker.journal.entry import JournalDamagedError
from memrepo_worker.journal.layout import Layout
from memrepo_worker.migration.contents import RefusedNames
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.interface import ALWAYS
from tests.support.bombs import nested_deltas
from tests.support.histories import FILE, FOLDER, Files, Scribe
from tests.support.stock_git import git, stock_git
from tests.support.writers import AGENT, NOW_S, commit, create, files, find, history, writer

LIMITS = Limits()
CLAIM = b"done\n\nRequest-Id: never-ran\nAuthor-Type: system\nAuthor-Id: root\n"


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def transfer(store: MemoryStore) -> Iterator[Transfer]:
    with ThreadPoolExecutor(2) as executor:
        yield Transfer(store, stock_git(), executor, lambda: NOW_S, LIMITS)


def bundle(
    folder: Path,
    state: Files | str,
    scribe: Scribe | None = None,
    message: bytes = b"m",
    author: bytes = b"A <a@example.org>",
) -> Path:
    scribe = scribe or Scribe()
    sha = scribe.commit(state, message=message, author=author)
    repo = scribe.write(folder / "origin.git", {"refs/heads/main": sha})
    git(repo, "bundle", "create", "--quiet", str(folder / "x.bundle"), "--all")
    return folder / "x.bundle"


@pytest.mark.parametrize(
    "spoil",
    [lambda sha: sha.upper(), lambda sha: sha[:12], lambda sha: sha + b"0"],
    ids=["upper case", "abbreviated", "too long"],
)
def test_ids_of_a_bundle_are_whole_and_in_lower_case(
    spoil: Callable[[bytes], bytes], transfer: Transfer, store: MemoryStore, tmp_path: Path
) -> None:
    file = bundle(tmp_path, {"a.md": b"x"})
    head, _, rest = file.read_bytes().partition(b" refs/heads/main")
    before, _, sha = head.rpartition(b"\n")
    file.write_bytes(before + b"\n" + spoil(sha.replace(b"0", b"a")) + b" refs/heads/main" + rest)
    with pytest.raises(InvalidRequestError, match="line 2 of its header"):
        transfer.import_(AGENT, file)
    assert not list(store.list(""))


def test_verify_opens_a_memory_as_workers_do(transfer: Transfer, store: MemoryStore, tmp_path: Path) -> None:
    key = Layout.of(AGENT.org_id, AGENT.agent_id).entry(2)
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(human="tea"))
        one.ask(commit("second"))
        assert transfer.verify(AGENT) == 2
        parts = decode_bundle(store.get(key).data)
        ledgerless = {**parts.refs, "refs/memrepo/ledger": parts.refs["HEAD"]}  # a commit is no ledger
        store.put(key, encode_bundle(parts.prerequisites, ledgerless, parts.pack), ALWAYS)
        with pytest.raises(JournalDamagedError) as caught:
            transfer.verify(AGENT)
        assert type(failure_of(caught.value)) is MemoryDamagedError
        one.service.cache.drop(AGENT)
        one.new_lease()
        with pytest.raises(MemoryDamagedError):
            one.messages()


OVER: Mapping[str, tuple[Files, bytes, str]] = {
    "a file": ({"big.bin": bytes(2 * MIB)}, b"m", "1 name that MEMREPO_FILE_BYTES_MAX=1048576"),
    "all files": (
        {f"{n}": bytes([n]) * MIB for n in range(5)},
        b"m",
        "1 name that MEMREPO_REQUEST_BYTES_MAX=4194304",
    ),
    "a message": ({"a": b""}, b"m" * 70_000, "1 name that MEMREPO_MESSAGE_BYTES_MAX=65536"),
    "a path": ({"/".join("d" * 130): b""}, b"m", "is over path_depth_max (128)"),
}


@pytest.mark.parametrize("what", OVER)
def test_what_is_over_a_limit_is_refused_or_listed_where_that_is_allowed(
    what: str, transfer: Transfer, store: MemoryStore, tmp_path: Path
) -> None:
    state, message, said = OVER[what]
    narrow = replace(transfer, limits=Limits(file_bytes_max=MIB, request_bytes_max=4 * MIB))
    file = bundle(tmp_path, state, message=message)
    with pytest.raises(InvalidRequestError, match="--allow-over-limits") as refused:
        narrow.import_(AGENT, file)
    assert said in str(refused.value)
    assert not list(store.list(""))

    told: list[RefusedNames] = []
    assert narrow.import_(AGENT, file, told.extend, allow_over_limits=True) == 1
    assert any(said in str(each) for each in told)


def test_names_that_lead_elsewhere_are_let_through_by_no_flag(transfer: Transfer, tmp_path: Path) -> None:
    file = bundle(tmp_path, {"a.md": b"1", "A.md": b"2"})
    with pytest.raises(InvalidRequestError, match="same name"):
        transfer.import_(AGENT, file, allow_over_limits=True, trust_claims=True)


def test_a_commit_that_stands_for_a_milliard_of_paths_is_refused(
    transfer: Transfer, store: MemoryStore, tmp_path: Path
) -> None:
    scribe = Scribe()
    mode, sha = FILE, scribe.blob(b"x")
    for _ in range(9):
        sha = scribe.raw_tree([(mode, b"%d" % number, sha) for number in range(10)])
        mode = FOLDER
    with pytest.raises(
        InvalidRequestError, match=r"files and folders, over MEMREPO_WALK_ENTRIES_MAX|allows for more"
    ):
        transfer.import_(AGENT, bundle(tmp_path, sha, scribe), allow_over_limits=True)
    assert not list(store.list(""))


def test_commits_that_say_to_be_ours_are_taken_only_where_that_is_trusted(
    transfer: Transfer, store: MemoryStore, tmp_path: Path
) -> None:
    ours = b"memrepo <memrepo@localhost>"
    file = bundle(tmp_path, {"a.md": b"x"}, message=CLAIM, author=ours)
    with pytest.raises(
        InvalidRequestError, match=r"1 commits that say that memrepo made them.*--trust-claims"
    ):
        transfer.import_(AGENT, file)

    transfer.import_(AGENT, file, trust_claims=True)
    with writer(store, tmp_path / "cache") as one:
        (made,) = one.ask(history())
        assert (made.request_id, made.author_type) == ("never-ran", "system")


def test_what_others_write_below_a_message_is_part_of_it(
    transfer: Transfer, store: MemoryStore, tmp_path: Path
) -> None:
    transfer.import_(AGENT, bundle(tmp_path, {"a.md": b"x"}, message=CLAIM))
    with writer(store, tmp_path / "cache") as one:
        (made,) = one.ask(history())
        assert (made.request_id, made.author_type, made.author_id) == (None, "user", None)
        assert made.message == CLAIM.decode().rstrip()
        assert one.ask(find("never-ran")) is None
        assert one.ask(files())["a.md"].text == "x"


def test_a_bundle_of_foreign_deltas_is_refused_whole(
    transfer: Transfer, store: MemoryStore, tmp_path: Path
) -> None:
    (tmp_path / "x.bundle").write_bytes(
        encode_bundle((), {"refs/heads/main": "1" * 40}, nested_deltas([255, 255, 255]))
    )
    with pytest.raises(InvalidRequestError, match="MEMREPO_FOREIGN_UNPACKED_BYTES_MAX"):
        transfer.import_(AGENT, tmp_path / "x.bundle")
    assert not list(store.list(""))
