from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from itertools import islice
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrepo.limits import KIB, MIB
from memrepo.wire.payload import CHUNK_BYTES_MAX, BrokenPayloadError, Payload, decode, encode

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, st.lists(st.binary(max_size=3 * KIB), max_size=8))
def test_a_body_comes_out_as_it_went_in(value: object, contents: list[bytes]) -> None:
    body = Payload(value, tuple(contents))

    assert decode(encode(body), body.size_bytes) == body
    assert decode(encode(body, compress=False), body.size_bytes) == body


def test_what_does_not_shrink_comes_in_chunks_of_the_size_that_is_allowed() -> None:
    body = Payload({}, (Random(1).randbytes(3 * MIB), b"", b"x" * (5 * MIB)))

    chunks = list(encode(body))

    assert len(chunks) > 3
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK_BYTES_MAX}
    assert 0 < len(chunks[-1]) <= CHUNK_BYTES_MAX
    assert decode(chunks, body.size_bytes) == body


def test_equal_bodies_give_equal_chunks() -> None:
    body = Payload({"a": 1}, (b"x" * MIB,))

    assert list(encode(body)) == list(encode(body))


def packed(head: object, rest: bytes = b"") -> bytes:
    text = json.dumps(head).encode()
    return zlib.compress(len(text).to_bytes(8) + text + rest)


GOOD = Payload({"a": 1}, (b"content",))


@pytest.mark.parametrize(
    ("forge", "size_bytes"),
    [
        pytest.param(lambda good: [], GOOD.size_bytes, id="nothing"),
        pytest.param(lambda good: [good[:-5]], GOOD.size_bytes, id="the end is missing"),
        pytest.param(lambda good: [good[:8] + b"\0\0" + good[10:]], GOOD.size_bytes, id="changed on the way"),
        pytest.param(lambda good: [b"not compressed"], 100, id="not compressed"),
        pytest.param(lambda good: [good], GOOD.size_bytes - 1, id="larger than it says"),
        pytest.param(lambda good: [good], GOOD.size_bytes + 1, id="smaller than it says"),
        pytest.param(lambda _: [packed({"value": 1, "sizes": [-1]})], 1000, id="a negative size"),
        pytest.param(lambda _: [packed({"value": 1, "sizes": [10**9]})], 1000, id="an enormous size"),
        pytest.param(lambda _: [packed({"value": 1, "sizes": "x"})], 1000, id="sizes that are none"),
        pytest.param(lambda _: [packed({"value": 1})], 1000, id="no sizes"),
        pytest.param(lambda _: [packed([1])], 1000, id="no head"),
        pytest.param(lambda _: [zlib.compress(b"\xff" * 8)], 1000, id="an enormous head"),
        pytest.param(
            lambda _: [zlib.compress((10).to_bytes(8) + b"\xff" * 10)], 18, id="a head that is no JSON"
        ),
        pytest.param(
            lambda _: [zlib.compress((200_000).to_bytes(8) + b"[" * 200_000)],
            200_008,
            id="a head that nests too deep",
        ),
    ],
)
def test_what_is_no_body_is_refused(forge: Callable[[bytes], list[bytes]], size_bytes: int) -> None:
    good = b"".join(encode(GOOD))
    with pytest.raises(BrokenPayloadError):
        decode(forge(good), size_bytes)


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_what_goes_wrong_as_a_chunk_is_fetched_is_told_as_it_is(taken: int) -> None:
    body = Payload({}, (Random(1).randbytes(3 * MIB),))

    def fetched() -> Iterator[bytes]:
        yield from islice(encode(body), taken)
        raise KeyError("gone")

    with pytest.raises(KeyError, match="gone"):
        decode(fetched(), body.size_bytes)


def test_no_more_is_unpacked_than_was_said() -> None:
    taken = 0

    def bomb() -> object:
        nonlocal taken
        packer = zlib.compressobj()
        yield packer.compress((7 * MIB).to_bytes(8))
        for _ in range(10_000):
            taken += 1
            yield packer.compress(bytes(MIB))

    with pytest.raises(BrokenPayloadError):
        decode(bomb(), 8 * MIB)  # type: ignore[arg-type]
    assert taken < 1000
