"""What is told of several things has their plural, and large numbers their commas where they are asked for."""

from __future__ import annotations

from memrepo.wording import counted


def test_one_thing_is_told_as_one_and_several_by_their_plural() -> None:
    assert [counted(count, "shard") for count in (0, 1, 2)] == ["0 shards", "1 shard", "2 shards"]
    assert counted(2, "branch") == "2 branches"
    assert counted(2, "entry") == "2 entries"


def test_a_large_number_has_commas_where_they_are_asked_for() -> None:
    assert counted(2000, "object") == "2000 objects"
    assert counted(2000, "object", by_thousands=True) == "2,000 objects"
