"""Many cases of one check in one test: each is tried, and all that failed are told by their names.

A test for each of thousands of cases of microseconds costs more than what they check: pytest collects them in every
process, and sets each up and reports it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import pytest

T = TypeVar("T")

_FAILED = (Exception, pytest.fail.Exception)


def check_each(cases: Iterable[T], check: Callable[[T], object], name: Callable[[T], str] = repr) -> None:
    """Check each case.

    Raises:
        BaseExceptionGroup: some failed: the failure of each, with the case's name as a note.
    """
    failures: list[BaseException] = []
    for case in cases:
        try:
            check(case)
        except _FAILED as failure:
            failure.add_note(f"case: {name(case)}")
            failures.append(failure)
    if failures:
        names = ", ".join(note for failure in failures for note in failure.__notes__)
        raise BaseExceptionGroup(f"{len(failures)} failed: {names}", failures)
