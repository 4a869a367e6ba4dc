from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrepo_worker.store.backends.files.names import CONTINUED, NAME_BYTES_MAX, names_of, part_of, path_of

ROOT = Path("/store")
components = st.text(st.characters(max_codepoint=127, exclude_characters="/"), min_size=1, max_size=700)


def test_an_ordinary_key_is_its_own_path() -> None:
    key = "acme/agent-42/repo.git/journal/00000000000000000001.bundle"
    assert path_of(ROOT, key) == ROOT / key


@pytest.mark.parametrize("key", ["a@b+c=d-e_f/0/x", "a" * 128 + "/b"])
def test_so_is_one_of_any_lower_case_id(key: str) -> None:
    assert path_of(ROOT, key) == ROOT / key


@given(components)
def test_names_tell_their_component_again(component: str) -> None:
    assert "".join(part_of(name) or "?" for name in names_of(component)) == component


@given(components, components)
def test_no_two_components_share_a_name_also_where_case_does_not_count(one: str, other: str) -> None:
    if one != other:
        assert [name.lower() for name in names_of(one)] != [name.lower() for name in names_of(other)]


@given(components)
def test_every_name_is_one_that_file_systems_take(component: str) -> None:
    *outer, last = names_of(component)
    for name in (*outer, last):
        assert name not in ("", ".", "..")
        assert len(name) <= NAME_BYTES_MAX + 1
        assert not name.startswith(".")
        assert "/" not in name
        assert "\0" not in name
    assert all(name.endswith(CONTINUED) for name in outer)
    assert not last.endswith(CONTINUED)


@pytest.mark.parametrize("key", ["", "a//b", "/a", "a/", "é"])
def test_what_is_no_key_has_no_path(key: str) -> None:
    with pytest.raises(ValueError, match="ASCII components"):
        path_of(ROOT, key)


@pytest.mark.parametrize("component", ["..", ".", ".git", "con", "aux.txt", "com1", "A", "x."])
def test_what_a_file_system_would_merge_or_forbid_is_escaped(component: str) -> None:
    assert names_of(component) != [component]


@pytest.mark.parametrize("name", [".temporary", ".lock", "README", "%", "%4", "%61", "a b", "é"])
def test_a_file_name_that_stands_for_no_component_is_not_the_stores(name: str) -> None:
    assert part_of(name) is None
