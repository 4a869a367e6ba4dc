"""The one rule for the same name, against its plain meaning."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrepo.validation.names import FILE_AND_FOLDER, SAME_NAME, PathSet, find_twins, folded

names = st.sampled_from(["a", "A", "b", "\u00e9", "e\u0301", "E\u0301", "a\u200c", "\u00df", "ss"])
paths = st.lists(names, min_size=1, max_size=3).map("/".join)


def parts(path: str) -> list[str]:
    return ["/".join(path.split("/")[: count + 1]) for count in range(path.count("/") + 1)]


def go_together(one: str, other: str) -> bool:
    """The rule, as it is meant: where two paths meet they are spelled alike, and a file ends one of them alone."""
    return all(
        left == right and left != one and right != other
        for left in parts(one)
        for right in parts(other)
        if folded(left) == folded(right)
    )


@given(steps=st.lists(st.tuples(st.booleans(), paths), max_size=12))
def test_a_set_of_paths_takes_what_goes_with_each_of_them_and_forgets_what_leaves(
    steps: list[tuple[bool, str]],
) -> None:
    together = PathSet()
    there: set[str] = set()
    for adds, path in steps:
        if path in there:
            assert together.clash(path) is None
            if not adds:
                together.remove(path)
                there.remove(path)
        elif together.clash(path) is None:
            together.add(path)
            there.add(path)
            assert all(go_together(*pair) for pair in combinations(sorted(there), 2))
        else:
            assert not all(go_together(path, other) for other in there)


@pytest.mark.parametrize(
    ("there", "path", "rule", "said"),
    [
        ("A/x", "a/y", SAME_NAME, "'a' is 'A' on macOS or Windows"),
        ("d/A/x", "d/a", FILE_AND_FOLDER, "'d/a' and 'd/A': one would be a file and the other one's folder"),
        ("a", "a/b", FILE_AND_FOLDER, "'a/b' and 'a': one would be a file and the other one's folder"),
        ("README", "Readme", SAME_NAME, "'Readme' is 'README' on macOS or Windows"),
        (
            "caf\u00e9",
            "cafe\u0301",
            SAME_NAME,
            "'cafe\u0301' is 'caf\u00e9' on macOS or Windows: the code points 'cafe\\u0301' and 'caf\\xe9' look alike",
        ),
        (
            "ab",
            "a\u200db",
            SAME_NAME,
            "'a\\u200db' is 'ab' on macOS or Windows: the code points 'a\\u200db' and 'ab' look alike",
        ),
    ],
)
def test_a_clash_says_which_rule_and_which_names(there: str, path: str, rule: str, said: str) -> None:
    together = PathSet()
    together.add(there)

    clash = together.clash(path)

    assert clash is not None
    assert (clash.rule, str(clash)) == (rule, said)


def test_only_a_new_name_has_a_twin() -> None:
    assert find_twins(["a", "A", "b"], {"b"}) == {}
    assert find_twins(["a", "A", "b"], {"A"}) == {"A": "a"}
    assert find_twins(["A", "b", "a"], {"A"}) == {"A": "a"}


def test_of_all_new_names_that_are_the_same_one_is_left() -> None:
    assert find_twins(["AB", "Ab", "aB", "ab", "b"], {"AB", "Ab", "ab", "b"}) == {
        "AB": "aB",
        "Ab": "AB",
        "ab": "aB",
    }
    assert find_twins(["x", "X", "xx", "Xx"], ["X", "Xx", "xx"]) == {"X": "x", "Xx": "xx"}
