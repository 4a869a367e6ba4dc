"""What a ref names, held against stock git's own answer in the same repository."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from memrepo import Limits, MemoryRepo, RefNotFoundError
from memrepo_worker.group import Agent
from memrepo_worker.migration.transfer import Transfer
from memrepo_worker.observe import Counters
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.testing import inline_repos
from tests.support.histories import Scribe
from tests.support.stock_git import GitError, git, stock_git
from tests.support.writers import commit, create, files, writer

TWINS = ("3428", "18307")
"""Messages of two commits whose ids have the first seven digits in common."""

LIKE_A_FILE, LIKE_A_COMMIT = "42987", b"791"
"""The message of a commit, and the content of a file, whose ids have the first seven digits in common."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history with a merge, tags of both kinds, branches that look like shas, and ids that begin alike."""
    scribe = Scribe()
    tree = scribe.tree({"a.md": b"x"})
    twins = [scribe.commit(tree, message=f"{text}\n", at_s=1_700_000_000) for text in TWINS]
    odd = scribe.commit(tree, message=f"{LIKE_A_FILE}\n", at_s=1_700_000_000)
    beside = scribe.tree({"a.md": b"x", "twin.md": LIKE_A_COMMIT})
    root = scribe.commit({"a.md": b"1"}, message="root\n")
    left = scribe.commit({"a.md": b"2"}, root, message="left\n")
    right = scribe.commit(beside, root, odd, message="right\n")
    merge = scribe.commit({"a.md": b"3"}, left, right, message="merge\n")
    top = scribe.commit({"a.md": b"4"}, merge, message="top\n")
    refs = {
        "refs/heads/main": top,
        "refs/heads/side": right,
        "refs/heads/twins/one": twins[0],
        "refs/heads/twins/two": twins[1],
        f"refs/heads/{left[:8]}": top,  # reads as the beginning of another commit's id
        "refs/heads/feedbee": root,
        "refs/tags/v1": left,
    }
    repo = scribe.write(tmp_path_factory.mktemp("original") / "repo.git", refs)
    message = b"object %b\ntype commit\ntag v2\ntagger Ann <a@b> 1700000000 +0000\n\nv2\n" % merge.encode()
    tag = git(repo, "mktag", stdin=message).decode().strip()
    git(repo, "update-ref", "refs/tags/v2", tag)
    return repo


@pytest.fixture(scope="module")
def counters() -> Counters:
    return Counters()


@pytest.fixture(scope="module")
def repo(
    original: Path, counters: Counters, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MemoryRepo]:
    """The same history as a memory."""
    folder = tmp_path_factory.mktemp("memory")
    bundle = folder / "all.bundle"
    git(original, "bundle", "create", "--quiet", str(bundle), "--all")
    store = LocalStore(folder / "store")
    with ThreadPoolExecutor(2) as executor:
        Transfer(store, stock_git(), executor, lambda: 1_750_000_000.0, Limits()).import_(
            Agent("acme", "agent-1"), bundle
        )
    with inline_repos(store=store, counters=counters) as repos:
        yield repos.repo(org_id="acme", agent_id="agent-1")


def commit_of(original: Path, name: str) -> str:
    """Return what git says that a ref names."""
    return git(original, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}").decode().strip()


def refs(original: Path) -> dict[str, str]:
    """Return every kind of ref that names a commit, with what stands for a sha filled in."""
    shas = {name: commit_of(original, name) for name in ("main", "side", "v1", "v2")}
    short = {name: sha[:7] for name, sha in shas.items()}
    tag = git(original, "rev-parse", "v2").decode().strip()
    names = [
        *("HEAD", "main", "side", "v1", "v2", "refs/heads/side", "refs/tags/v2", "feedbee", "twins/one"),
        *shas.values(),
        *short.values(),
        *(shas["main"][:length] for length in (8, 12, 39)),
        *(tag, tag[:9]),  # of the tag itself, which leads to a commit
        shas["v1"][:8],  # a branch of that name goes first
    ]
    steps = ("~", "~0", "~1", "~2", "~~", "~1~1", "~01")
    return {
        ref: sha
        for name in names
        for ref in (name, *(name + step for step in steps))
        if (sha := _maybe(original, ref))
    }


def _maybe(original: Path, name: str) -> str | None:
    try:
        return commit_of(original, name)
    except GitError:
        return None  # past the first commit


def test_every_ref_names_the_commit_that_git_names(repo: MemoryRepo, original: Path) -> None:
    expected = refs(original)
    assert len(expected) > 80

    assert {ref: repo.get_files(ref).result().commit_sha for ref in expected} == expected


def test_every_call_that_takes_a_ref_takes_each_kind(repo: MemoryRepo, original: Path) -> None:
    left, top = commit_of(original, "v1"), commit_of(original, "main")
    short = commit_of(original, "v2")[:7]

    assert repo.get_file("a.md", ref="main~1").result().text == "3"
    assert [file.path for file in repo.list_files(ref="side~0").result()] == ["a.md", "twin.md"]
    assert repo.get_history(ref="main~2", limit=1).result()[0].sha == left
    assert repo.get_history(after=f"{short}~0", limit=1).result()[0].sha == commit_of(original, "side")
    difference = repo.diff("HEAD~2", short).result()
    assert (difference.base_sha, difference.target_sha) == (left, commit_of(original, "v2"))
    assert repo.create_branch("from-before", start_point="main~~").result().sha == left
    begun = repo.commit({"b.md": "b"}, "b", branch="begun-before", start_point=f"{top[:7]}~1").result()
    assert begun.parent_sha == commit_of(original, "main~1")
    restored = repo.restore("begun-before~2", branch="begun-before").result()
    assert repo.get_file("a.md", ref=restored.sha).result().text == "2"


def test_the_beginning_of_two_commits_names_neither_and_the_error_lists_both(
    repo: MemoryRepo, original: Path
) -> None:
    twins = sorted(commit_of(original, name) for name in ("twins/one", "twins/two"))
    assert twins[0][:7] == twins[1][:7]

    with pytest.raises(RefNotFoundError, match="beginning of 2 commits") as caught:
        repo.get_files(twins[0][:7]).result()

    assert all(twin in caught.value.message for twin in twins)
    assert caught.value.details["candidates"] == twins
    distinct = next(length for length in range(8, 40) if twins[0][:length] != twins[1][:length])
    assert repo.get_files(twins[0][:distinct]).result().commit_sha == twins[0]


def test_a_file_whose_id_begins_alike_does_not_make_a_commit_ambiguous(
    repo: MemoryRepo, original: Path
) -> None:
    file = repo.get_file("twin.md", ref="side").result().sha
    commit = commit_of(original, f"{commit_of(original, 'side')}^2")
    assert file[:7] == commit[:7]

    assert repo.get_files(file[:7]).result().commit_sha == commit


@pytest.mark.parametrize("where", ["main", "HEAD", "v2"])
def test_past_the_first_commit_it_is_told_how_many_there_are(
    repo: MemoryRepo, original: Path, where: str
) -> None:
    commits = int(git(original, "rev-list", "--first-parent", "--count", where))
    first = repo.get_files(f"{where}~{commits - 1}").result().commit_sha
    assert first == commit_of(original, f"{where}~{commits - 1}")

    for beyond in (f"{where}~{commits}", f"{where}~999999999"):
        with pytest.raises(
            RefNotFoundError, match=rf"there are {commits} commits, .*~{commits - 1}"
        ) as caught:
            repo.get_files(beyond).result()
        assert caught.value.details == {"ref": beyond, "commits": commits}


@pytest.mark.parametrize("name", ["0000000", "0000000~1", "nope~1", "feedbe", "0" * 40 + "~1"])
def test_what_names_nothing_is_said_to_name_nothing(repo: MemoryRepo, name: str) -> None:
    with pytest.raises(RefNotFoundError, match=f"'{name}' is no branch, tag or commit"):
        repo.get_files(name).result()


def test_commits_that_are_only_in_memory_are_found_by_a_short_sha(repo: MemoryRepo) -> None:
    made = repo.commit({"fresh.md": "x"}, "fresh", branch="fresh").result()

    assert repo.get_files(made.sha[:7]).result().commit_sha == made.sha
    assert repo.get_files(f"{made.sha[:7]}~1").result().commit_sha == made.parent_sha


def test_a_commit_that_no_branch_leads_to_is_found_by_its_beginning_as_by_its_whole_sha(
    repo: MemoryRepo,
) -> None:
    made = repo.commit({"left.md": "x"}, "left behind", branch="doomed").result()
    repo.delete_branch("doomed").result()

    assert repo.get_files(made.sha[:9]).result()["left.md"].text == "x"


def test_no_process_is_started_and_the_store_is_not_asked(tmp_path: Path) -> None:
    with writer(LocalStore(tmp_path / "store"), tmp_path / "cache") as worker:
        worker.ask(create(a="1"))
        for text in ("2", "3"):
            sha = worker.ask(commit(text, {"a": text})).sha
        before = worker.counters.snapshot()

        for ref in (f"{sha[:7]}~1", "HEAD~2", sha[:8]):
            assert worker.ask(files(ref=ref)).commit_sha

        spent = {name for name, count in worker.counters.snapshot().items() if count != before.get(name, 0)}
        assert {name for name in spent if name.startswith(("process.", "store."))} == set()


def test_a_ref_that_goes_past_the_first_commit_says_how_many_there_are(tmp_path: Path) -> None:
    with writer(LocalStore(tmp_path / "store"), tmp_path / "cache") as worker:
        worker.ask(create(a="1"))
        with pytest.raises(RefNotFoundError) as alone:
            worker.ask(files(ref="main~1"))
        worker.ask(commit("2", {"a": "2"}))
        with pytest.raises(RefNotFoundError) as two:
            worker.ask(files(ref="main~5"))

    assert alone.value.message == "'main~1' goes past the first commit: 'main' is the first commit"
    assert two.value.message == (
        "'main~5' goes past the first commit: from 'main' there are 2 commits, the first is main~1"
    )
