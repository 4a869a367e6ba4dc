"""Random queries of the syntax that both know, against ``git grep -E`` on the same files."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from memrepo import FileChange
from memrepo.wire.operations import build
from memrepo.wire.requests.search import SEARCH_LIMIT_MAX, SearchRequest
from memrepo.wire.requests.writes import CommitRequest
from memrepo_worker.git.compare import lines_of
from memrepo_worker.store.backends.local import LocalStore
from tests.support.plain_git import plain_git
from tests.support.writers import AGENT, NOW_S, Writer, writer

WORDS = (
    *("tea", "coffee", "likes", "hates", "the", "a", "Ann", "bob", "key=value", "2026-11-27", "tab\there"),
    *("(x)", "[y]", "a.b", "a+b", "$5", "\u00fcber", "\u65e5\u672c", "end."),
)
FILES_PER_COMMIT = 1_000
HEAD = {"org_id": AGENT.org_id, "agent_id": AGENT.agent_id, "enqueued_at": NOW_S}

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


def found_by_us(one: Writer, query: str, *, regex: bool = True, ignore_case: bool = False) -> list[Hit]:
    request = build(
        SearchRequest,
        **HEAD,
        request_id="search-1",
        text=query,
        regex=regex,
        ignore_case=ignore_case,
        limit=SEARCH_LIMIT_MAX,
    )
    return [(match.path, match.line) for match in one.ask(request)]


@contextmanager
def same_files(folder: Path, count: int) -> Iterator[tuple[Path, Writer]]:
    """Yield a repository of stock git with random files, and a worker whose memory has the same."""
    chance = random.Random(count)
    files = {
        f"{chance.choice('abc')}{chance.choice(['/', '-', '.d/'])}{n}.md": random_file(chance)
        for n in range(count)
    }
    work_tree = folder / "git"
    for path, data in files.items():
        (work_tree / path).parent.mkdir(exist_ok=True, parents=True)
        (work_tree / path).write_bytes(data)
    plain_git(work_tree, "init", "-q")
    plain_git(work_tree, "add", "-A")
    plain_git(work_tree, "commit", "-q", "-m", "files")
    # What is asked here is what is found: that a search ends in time, whatever else the machine does, others ask.
    with writer(LocalStore(folder / "store"), folder / "cache", turn_time_s=3600.0) as one:
        paths = list(files)
        for first in range(0, count, FILES_PER_COMMIT):
            some = [
                FileChange(path=path, content=files[path]) for path in paths[first : first + FILES_PER_COMMIT]
            ]
            one.ask(
                build(
                    CommitRequest,
                    **HEAD,
                    request_id=f"commit-{first}",
                    changes=some,
                    message="files",
                    create_repo_if_missing=True,
                )
            )
        yield work_tree, one


def differing(folder: Path, one: Writer, queries: Sequence[str]) -> list[str]:
    """Return the queries of which we find something else than git."""
    wrong = []
    for number, query in enumerate(queries):
        ignore_case = number % 5 == 0
        expected = found_by_git(folder, query, "-E", *(["-i"] if ignore_case else []))
        found = found_by_us(one, query, ignore_case=ignore_case)
        if found != expected[:SEARCH_LIMIT_MAX]:
            wrong.append(query)
    return wrong


def test_random_queries_find_the_same_lines(tmp_path: Path) -> None:
    chance = random.Random(1)
    with same_files(tmp_path, 200) as (folder, one):
        assert differing(folder, one, ["^(x)?$", *(random_query(chance) for _ in range(50))]) == []
        for text in ("tea", "a.b", "(x)", "[y]", "$5", "日本", "tab\there"):
            expected = found_by_git(folder, text, "-F")[:SEARCH_LIMIT_MAX]
            assert expected == found_by_us(one, text, regex=False)
            assert expected == found_by_us(one, text, regex=False, ignore_case=True)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(5))
@pytest.mark.parametrize("count", [200, 20_000])
def test_500_random_queries_find_the_same_lines(tmp_path: Path, count: int, part: int) -> None:
    chance = random.Random(2)
    queries = [random_query(chance) for _ in range(500)]
    with same_files(tmp_path, count) as (folder, one):
        assert differing(folder, one, queries[part::5]) == []
