"""While something is computed once for one object, others of its class are not waited for, nor made to wait."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from typing_extensions import override

from memrepo.lazy import lazy_property
from memrepo.wire.payload import Payload

WAITS_S = 30.0
"""For what comes at once where nothing is in the way."""


def in_another_thread(work: Callable[[], object]) -> bool:
    """Do it; return whether it came to its end while this thread waited for it."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(WAITS_S)
    return not thread.is_alive()


class _Asking(dict[str, str]):
    """A value that does something while it is written."""

    def __init__(self, meanwhile: Callable[[], object]) -> None:
        super().__init__(a="b")
        self._meanwhile = meanwhile

    @override
    def values(self) -> Any:
        self._meanwhile()
        return super().values()


def test_a_small_payload_is_written_while_a_large_one_is() -> None:
    small = Payload({"sha": "a" * 40})
    ended: list[bool] = []
    large = Payload(_Asking(lambda: ended.append(in_another_thread(lambda: small.size_bytes))))

    written = large.text

    assert ended == [True]
    assert written == '{"a":"b"}'


@dataclass(frozen=True)
class Counting:
    """Notes each time that it computes."""

    computed: list[int]
    meanwhile: Callable[[], object] = lambda: None

    @lazy_property
    def number(self) -> int:
        """How often it was computed."""
        self.computed.append(1)
        self.meanwhile()
        return len(self.computed)


def test_it_is_computed_once_for_each_object() -> None:
    one, other = Counting([]), Counting([])

    assert [one.number, one.number, other.number] == [1, 1, 1]
    assert (one.computed, other.computed) == ([1], [1])


def test_threads_that_meet_at_one_object_get_the_same_value() -> None:
    values: list[int] = []

    def ask_beside() -> None:
        if len(one.computed) == 1:
            assert in_another_thread(lambda: values.append(one.number))

    one = Counting([], ask_beside)
    values.append(one.number)

    assert values == [2, 2]


def test_what_failed_is_computed_again() -> None:
    def fail_at_first() -> None:
        if len(one.computed) == 1:
            raise ValueError("at first")

    one = Counting([], fail_at_first)
    with pytest.raises(ValueError, match="at first"):
        _ = one.number

    assert one.number == 2


def test_the_class_gives_the_property_itself() -> None:
    assert Counting.number.__doc__ == "How often it was computed."
