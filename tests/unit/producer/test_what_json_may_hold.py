"""JSON of others is counted before it is decoded: few bytes cannot become many values."""

from __future__ import annotations

import json
import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrepo.json_text import VALUES_MAX, read_json
from memrepo.limits import MIB
from memrepo.wire.payload import BrokenPayloadError, Payload, decode, encode

MANY = 16 * MIB // 3
BOMBS = {
    "empty objects": "[" + "{}," * MANY + "{}]",
    "empty lists": "[" + "[]," * MANY + "[]]",
    "numbers": "[" + "0," * MANY + "0]",
    "empty strings": "[" + '"",' * MANY + '""]',
    "keys": "{" + '"k":0,' * (VALUES_MAX + 1) + '"k":0}',
    "quotes that end early": '"\\\\"' + ",[]" * MANY,
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
def test_many_values_are_refused_before_they_are_made(bomb: str) -> None:
    tracemalloc.start()
    with pytest.raises(ValueError, match="more than"):
        read_json(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 128 * MIB


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_only_utf_8_is_read(encoding: str) -> None:
    with pytest.raises(UnicodeDecodeError):
        read_json('{"a": "é"}'.encode(encoding))


def test_what_stands_in_strings_does_not_count() -> None:
    table = {
        "a.csv": "1,2,3\n" * 1000,
        "b.json": '{"a": ["\\\\", "\\"", [{}, {}]]}\n' * 1000,
        'c"\\': '",\\"',
    }
    text = json.dumps(table)
    assert text.count(",") > 1000

    assert read_json(text, values_max=7) == table
    assert read_json(text.encode(), values_max=7) == table


def values_in(value: object) -> int:
    if isinstance(value, dict):
        return 1 + sum(map(values_in, value.values()))
    return 1 + sum(map(values_in, value)) if isinstance(value, list) else 1


PLAIN = st.none() | st.booleans() | st.integers() | st.text(st.sampled_from('ab"\\,[]{}:é')) | st.text()
JSON = st.recursive(PLAIN, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@given(value=JSON, ascii_only=st.booleans())
def test_what_holds_no_more_than_it_may_is_read_and_more_is_not_taken(
    value: object, ascii_only: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    found = values_in(value)

    assert read_json(text, values_max=2 * found) == value
    if found > 1:
        with pytest.raises(ValueError, match="more than"):
            read_json(text, values_max=found - 1)


def test_a_body_of_65_kb_that_unpacks_to_64_mib_of_values_is_refused_in_little_memory() -> None:
    head = b'{"value":[' + b"{}," * (64 * MIB // 3) + b'{}],"sizes":[]}'
    packed = zlib.compress(len(head).to_bytes(8) + head, 9)
    assert len(packed) < 100_000

    tracemalloc.start()
    with pytest.raises(BrokenPayloadError):
        decode([packed], 8 + len(head), values_max=150_000)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak < 400 * MIB


def test_the_largest_lists_that_are_asked_for_are_read() -> None:
    """A commit of as many changes as there may be, and a page of history whose commits changed as many files."""
    changes = [
        {"path": f"{n:06}.md", "content": {"attached": n}, "change_type": "modify"} for n in range(1000)
    ]
    commits = [{"sha": "0" * 40, "files_changed": [f"notes/{n:04}.md" for n in range(900)]}] * 1000

    for value in (changes, commits):
        payload = Payload(value)
        assert decode(encode(payload), payload.size_bytes).value == value
