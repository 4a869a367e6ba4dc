"""What is large is written as JSON in pieces, so that a thread that writes it keeps no other for long."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrepo import json_text
from memrepo.json_text import PIECE_CHARS, json_pieces
from memrepo.wire.payload import Payload, decode, encode

_AS_ONE_CHARACTER_MAX = 6
"""What stands for one character takes no more: ``\\u0000``."""

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.integers(1, 20))
def test_together_they_are_what_is_written_at_once(value: Any, piece_chars: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_text, "PIECE_CHARS", piece_chars)
        pieces = list(json_pieces(value))

    assert "".join(pieces) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@pytest.mark.parametrize(
    "value",
    [
        "\n" * 1_000_000,
        {"files": [{"path": "a", "patch": '"' * 1_000_000}, {"path": "b", "patch": "\0" * 300_000}]},
        [{"message": "\n" * 60_000, "sha": "a" * 40}] * 20,
        list(range(500_000)),
    ],
    ids=["a text", "texts in it", "many that are small", "numbers"],
)
def test_none_of_them_takes_long(value: Any) -> None:
    assert max(map(len, json_pieces(value))) <= (1 + _AS_ONE_CHARACTER_MAX) * PIECE_CHARS


def test_what_is_small_is_one() -> None:
    assert list(json_pieces({"sha": "a" * 40, "files_changed": ["a.md"]})) == [
        '{"sha":"' + "a" * 40 + '","files_changed":["a.md"]}'
    ]


def test_a_large_value_is_read_as_it_was() -> None:
    value = {"files": [{"patch": "a\n\ud800é😀" * 100_000}]}
    payload = Payload(value, (b"content",))

    read = decode(iter(list(encode(payload))), payload.size_bytes)

    assert (read.value, read.contents) == (value, (b"content",))
