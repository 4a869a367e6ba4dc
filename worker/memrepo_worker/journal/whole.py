"""A whole repository as one entry: how histories that began elsewhere enter a journal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from memrepo_worker.git.bundles import encode_bundle
from memrepo_worker.git.command import Git
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack, join_packs
from memrepo_worker.journal.entry import HEAD_BRANCH, LEDGER_REF
from memrepo_worker.journal.ledger import LedgerLine, encode_lines


@contextmanager
def scratch_repository(git: Git) -> Iterator[Path]:
    """Yield an empty bare repository that is gone afterwards."""
    with TemporaryDirectory(prefix="memrepo-") as folder:
        path = Path(folder) / "scratch.git"
        git.run(["init", "--quiet", "--bare", "--initial-branch=main", str(path)])
        yield path


def set_refs(git: Git, repo: Path, refs: Mapping[str, str]) -> None:
    """Make these the repository's refs."""
    commands = "".join(f"update {name} {sha}\n" for name, sha in refs.items())
    git.run(["update-ref", "--stdin"], repo=repo, stdin=commands.encode())


def verify(git: Git, repo: Path) -> None:
    """Have stock git check every object and that nothing reachable is missing.

    Raises:
        GitError: something is wrong; the message says what.
    """
    git.run(["fsck", "--full", "--strict", "--no-dangling", "--no-progress"], repo=repo)


def entry_of(git: Git, repo: Path, refs: Mapping[str, str], line: LedgerLine) -> bytes:
    """Return an entry that holds everything reachable from ``refs``, and this line in its ledger."""
    wanted = "".join(f"{sha}\n" for sha in sorted(set(refs.values())))
    pack = git.run(["pack-objects", "--revs", "--stdout", "--quiet"], repo=repo, stdin=wanted.encode())
    ledger = GitObject(Kind.BLOB, encode_lines([line]))
    ledger_sha = object_id(ledger)
    joined = join_packs([pack, encode_pack({ledger_sha: ledger}).data])
    assert joined is not None
    header = {**refs, LEDGER_REF: ledger_sha, "HEAD": refs[HEAD_BRANCH]}
    return encode_bundle((), header, joined)
