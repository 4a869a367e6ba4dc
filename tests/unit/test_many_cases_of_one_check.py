from __future__ import annotations

import pytest

from tests.support.each import check_each


def test_each_case_is_tried_and_each_that_failed_is_told_by_its_name() -> None:
    tried: list[int] = []

    def is_even(number: int) -> None:
        tried.append(number)
        if number == 3:
            with pytest.raises(ValueError, match="nothing raises it"):
                pass
        assert number % 2 == 0

    with pytest.raises(BaseExceptionGroup, match=r"^2 failed: case: number 1, case: number 3") as caught:
        check_each(range(5), is_even, lambda number: f"number {number}")

    assert tried == [0, 1, 2, 3, 4]
    assert caught.group_contains(pytest.fail.Exception, match="DID NOT RAISE")
    assert caught.group_contains(AssertionError)


def test_nothing_is_raised_where_all_is_well() -> None:
    check_each([2, 4], lambda number: None)
