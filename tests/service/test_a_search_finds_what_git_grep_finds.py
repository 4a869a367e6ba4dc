"""Random queries of the syntax that both know, against ``git grep -E`` on the same files."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from memrepo import MemoryRepo
from memrepo.wire.requests.search import SEARCH_LIMIT_MAX
from memrepo_worker.git.compare import lines_of
from memrepo_worker.testing import inline_repos
from tests.support.jobs import done
from tests.support.plain_git import plain_git

WORDS = (
    *("tea", "coffee", "likes", "hates", "the", "a", "Ann", "bob", "key=value", "2026-11-27", "tab\there"),
    *("(x)", "[y]", "a.b", "a+b", "$5", "\u00fcber", "\u65e5\u672c", "end."),
)
FILES_PER_COMMIT = 1_000

Hit = tuple[str, int]


def random_file(chance: random.Random) -> bytes:
    """Return a file of short lines; some end in CRLF or in nothing, some are empty, binary, or no UTF-8."""
    lines = [" ".join(chance.choices(WORDS, k=chance.randrange(8))) for _ in range(chance.randrange(30))]
    data = chance.choice(["\n", "\n", "\n", "\r\n"]).join(lines).encode() + b"\n" * chance.randrange(3)
    kind = chance.random()
    if kind < 0.05:
        return data + b"\0tea\n"
    return data + b"caf\xe9 tea\n" if kind < 0.1 else data


def random_pattern(chance: random.Random, depth: int = 2) -> str:
    """Return an extended regular expression that RE2 reads the same way."""
    kind = chance.random()
    if depth == 0 or kind < 0.4:
        return random_atom(chance)
    if kind < 0.55:
        return f"({random_pattern(chance, depth - 1)}|{random_pattern(chance, depth - 1)})"
    if kind < 0.7:
        times = chance.choice(["*", "+", "?", "{2}", "{1,3}", "{2,}"])
        return f"({random_pattern(chance, depth - 1)}){times}"
    return (
        random_pattern(chance, depth - 1) + chance.choice(["", " ", ".*", ".", "[^a]"]) + random_atom(chance)
    )


def random_atom(chance: random.Random) -> str:
    word = chance.choice(
        ["tea", "coffee", "likes", "Ann", "bob", "key=", "2026", "a\\.b", "a\\+b", "\\(x\\)", "über"]
    )
    short = ["[a-f]+", "[[:digit:]]{2,4}", "[^[:space:]]", "[A-Z]", ".", "x", "[.]", "\\$5", "e"]
    return chance.choice([word, word[: chance.randrange(1, 3)] if word.isalnum() else word, *short])


def random_query(chance: random.Random) -> str:
    return chance.choice(["", "", "", "^"]) + random_pattern(chance) + chance.choice(["", "", "", "$"])


def found_by_git(folder: Path, query: str, *options: str) -> list[Hit]:
    arguments = ["grep", "-I", "-n", "-z", *options, "-e", query, "HEAD"]
    lines = plain_git(folder, *arguments, fine=False, locale="C.UTF-8").split(b"\n")
    parts = [line.split(b"\0", 2) for line in lines if line]
    hits = [(path.decode().removeprefix("HEAD:"), int(number)) for path, number, _ in parts]
    # Of what may be empty, git finds one behind the last line break, too, where there is no line.
    return [(path, number) for path, number in hits if number <= lines_of((folder / path).read_bytes())]


def found_by_us(repo: MemoryRepo, query: str, *, regex: bool = True, ignore_case: bool = False) -> list[Hit]:
    matches = done(repo.search(query, regex=regex, ignore_case=ignore_case, limit=SEARCH_LIMIT_MAX))
    return [(match.path, match.line) for match in matches]


@contextmanager
def same_files(folder: Path, count: int) -> Iterator[MemoryRepo]:
    """Yield a memory of random files, which are in a repository of stock git, too."""
    chance = random.Random(count)
    files = {
        f"{chance.choice('abc')}{chance.choice(['/', '-', '.d/'])}{n}.md": random_file(chance)
        for n in range(count)
    }
    for path, data in files.items():
        (folder / path).parent.mkdir(exist_ok=True, parents=True)
        (folder / path).write_bytes(data)
    plain_git(folder, "init", "-q")
    plain_git(folder, "add", "-A")
    plain_git(folder, "commit", "-q", "-m", "files")
    with inline_repos() as repos:
        repo = repos.repo(org_id="acme", agent_id="ann")
        paths = list(files)
        for first in range(0, count, FILES_PER_COMMIT):
            some = {path: files[path] for path in paths[first : first + FILES_PER_COMMIT]}
            done(repo.commit(some, "files", create_repo_if_missing=True))
        yield repo


def differing(folder: Path, repo: MemoryRepo, queries: Sequence[str]) -> list[str]:
    """Return the queries of which we find something else than git."""
    wrong = []
    for number, query in enumerate(queries):
        ignore_case = number % 5 == 0
        expected = found_by_git(folder, query, "-E", *(["-i"] if ignore_case else []))
        found = found_by_us(repo, query, ignore_case=ignore_case)
        if found != expected[:SEARCH_LIMIT_MAX]:
            wrong.append(query)
    return wrong


def test_random_queries_find_the_same_lines(tmp_path: Path) -> None:
    chance = random.Random(1)
    with same_files(tmp_path, 200) as repo:
        assert differing(tmp_path, repo, ["^(x)?$", *(random_query(chance) for _ in range(50))]) == []
        for text in ("tea", "a.b", "(x)", "[y]", "$5", "日本", "tab\there"):
            expected = found_by_git(tmp_path, text, "-F")[:SEARCH_LIMIT_MAX]
            assert expected == found_by_us(repo, text, regex=False)
            assert expected == found_by_us(repo, text, regex=False, ignore_case=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [200, 20_000])
def test_500_random_queries_find_the_same_lines(tmp_path: Path, count: int) -> None:
    chance = random.Random(2)
    with same_files(tmp_path, count) as repo:
        assert differing(tmp_path, repo, [random_query(chance) for _ in range(500)]) == []
