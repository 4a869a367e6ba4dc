"""A delta makes the new state of the old one for stock git, costs what differs, and is the same each time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest

from memrepo.limits import MIB
from memrepo_worker.git.deltas.encoding import Delta, encode_delta
from memrepo_worker.git.objects import GitObject, Kind, object_id
from memrepo_worker.git.packs import encode_pack
from tests.support.jobs import present
from tests.support.stock_git import empty_repository, git

RANDOM = Random(7)
LINES = [f"{number} {RANDOM.random()} {RANDOM.random()}\n".encode() for number in range(25_000)]
TEXT = b"".join(LINES)


def with_line(number: int, line: bytes) -> bytes:
    return b"".join([*LINES[:number], line, *LINES[number + 1 :]])


NEW: dict[str, Callable[[], bytes]] = {
    "a line": lambda: with_line(9_000, b"another line\n"),
    "the first byte": lambda: b"x" + TEXT[1:],
    "the last byte": lambda: TEXT[:-1] + b"x",
    "appended": lambda: TEXT + b"one more line\n",
    "prepended": lambda: b"one more line\n" + TEXT,
    "cut short": lambda: TEXT[: len(TEXT) // 2],
    "a part moved": lambda: b"".join([*LINES[20_000:], *LINES[:20_000]]),
    "three edits": lambda: (
        with_line(10, b"a\n").replace(LINES[12_000], b"b\n").replace(LINES[24_000], b"c\n")
    ),
    "without line breaks": lambda: (
        TEXT.replace(b"\n", b" ")[:600_000] + b"y" + TEXT.replace(b"\n", b" ")[600_000:]
    ),
    "twice": lambda: TEXT + TEXT,
}


@pytest.mark.parametrize("what", NEW)
def test_stock_git_makes_the_new_state_of_it(what: str, tmp_path: Path) -> None:
    old = TEXT.replace(b"\n", b" ") if what == "without line breaks" else TEXT
    new = NEW[what]()
    repo = empty_repository(tmp_path / "repo.git")
    base = git(repo, "hash-object", "-w", "--stdin", stdin=old).decode().strip()
    delta = present(encode_delta(old, new))
    item = GitObject(Kind.BLOB, new)
    pack = encode_pack({object_id(item): item}, deltas={object_id(item): Delta(base, delta)})

    git(repo, "index-pack", "--stdin", "--fix-thin", stdin=pack.data)

    assert git(repo, "cat-file", "blob", object_id(item)) == new
    assert len(pack.data) < 1000
    assert encode_delta(old, new) == delta


def test_states_that_share_little_are_stored_whole() -> None:
    assert encode_delta(TEXT, RANDOM.randbytes(len(TEXT))) is None
    assert encode_delta(TEXT[:3000], TEXT[:3000] + b"x") is None, "a small file"
    assert encode_delta(b"", TEXT) is None


@cache
def short() -> list[bytes]:
    """Return 8 MiB of short lines; made where they are asked for, as it takes long."""
    rnd = Random(8)
    return [f"{rnd.getrandbits(36):09x}\n".encode() for _ in range(8 * MIB // 10)]


def shuffled() -> list[bytes]:
    lines = short()[:]
    Random(9).shuffle(lines)
    return lines


HOSTILE: dict[str, Callable[[], tuple[bytes, bytes]]] = {
    "shuffled": lambda: (b"".join(short()), b"".join(shuffled())),
    "each second line": lambda: (
        b"".join(short()),
        b"".join(b"another\n" if at % 2 else line for at, line in enumerate(short())),
    ),
    "newlines": lambda: (b"\n" * 8 * MIB, b"x" + b"\n" * (8 * MIB - 3) + b"y"),
    "no line twice": lambda: (b"x" + b"".join(short()), b"".join(short()[::-1])),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_what_shares_short_lines_alone_is_given_up_after_a_bounded_number_of_steps(what: str) -> None:
    """Counted by what is called, as the steps are what takes Python's lock from all others."""
    calls = 0

    def count(_frame: object, event: str, _called: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    old, new = HOSTILE[what]()
    sys.setprofile(count)
    try:
        delta = encode_delta(old, new)
    finally:
        sys.setprofile(None)

    assert delta is None
    assert calls < 1_000_000  # without bounds 16 million


def test_a_part_of_a_very_long_file_that_moved_is_found(tmp_path: Path) -> None:
    old = b"".join(short())
    half = len(old) // 2
    new = b"new\n" + old[half:] + b"new between\n" + old[:half]
    delta = present(encode_delta(old, new))

    assert len(delta) < 1000
    before, after = GitObject(Kind.BLOB, old), GitObject(Kind.BLOB, new)
    repo = empty_repository(tmp_path / "repo.git")
    pack = encode_pack(
        {object_id(before): before, object_id(after): after},
        deltas={object_id(after): Delta(object_id(before), delta)},
    )
    git(repo, "index-pack", "--stdin", stdin=pack.data)
    assert git(repo, "cat-file", "blob", object_id(after)) == new


def test_random_edits_of_anything_are_told_right(tmp_path: Path) -> None:
    repo = empty_repository(tmp_path / "repo.git")
    wanted = {}
    packs = []
    for seed in range(60):
        rnd = Random(seed)
        old = b"".join(
            rnd.choice([b"alpha beta\n", b"\n", b"\r\n", b"gamma delta epsilon\n"]) for _ in range(2000)
        )
        new = bytearray(old)
        for _ in range(rnd.randrange(1, 6)):
            at, size = rnd.randrange(len(new)), rnd.randrange(200)
            new[at : at + size] = rnd.choice([b"", rnd.randbytes(size), bytes(new[:size]), b"zeta\n" * 9])
        delta = encode_delta(old, bytes(new))
        if delta is None:
            continue
        before, after = GitObject(Kind.BLOB, old), GitObject(Kind.BLOB, bytes(new))
        wanted[object_id(after)] = after.data
        packs.append(
            encode_pack(
                {object_id(before): before, object_id(after): after},
                deltas={object_id(after): Delta(object_id(before), delta)},
            ).data
        )
    assert len(wanted) > 50
    for pack in packs:
        git(repo, "index-pack", "--stdin", stdin=pack)
    for sha, data in wanted.items():
        assert git(repo, "cat-file", "blob", sha) == data
