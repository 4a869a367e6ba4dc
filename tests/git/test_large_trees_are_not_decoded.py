"""Trees that stay as they are stored: they say what decoded ones say, and refuse what those refuse."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrepo.limits import MIB
from memrepo_worker.git.edits import FileEdit, TreeConflictError, TreeEditor
from memrepo_worker.git.objects import (
    MODE_FILE,
    MODE_TREE,
    GitObject,
    Kind,
    TreeEntry,
    decode_safe_tree,
    encode_tree,
    object_id,
)
from memrepo_worker.git.reader import ObjectMap, Reader
from memrepo_worker.git.trees import stored
from memrepo_worker.git.trees.stored import StoredTree, changed, differing, find_twins_in

SHA = "20" * 20  # spaces, as names and modes are parted by
NAMES = st.text(st.sampled_from("ab0 .-gitGIT\u00e9\u200c~"), min_size=1, max_size=6)
ENTRIES = st.dictionaries(
    NAMES,
    st.builds(
        TreeEntry,
        st.sampled_from([MODE_FILE, MODE_TREE, "120000", "040000"]),
        st.binary(min_size=20, max_size=20).map(bytes.hex) | st.just(SHA),
    ),
    max_size=12,
)


def stored_tree(entries: Mapping[str, TreeEntry]) -> StoredTree | None:
    """As it is stored, or None where it is refused."""
    try:
        return StoredTree(encode_tree(entries).data)
    except ValueError:
        return None


@given(ENTRIES, NAMES)
def test_it_has_the_entries_that_it_would_have_decoded(entries: dict[str, TreeEntry], name: str) -> None:
    tree = stored_tree(entries)
    if tree is None:
        with pytest.raises(ValueError, match="a tree with a name"):
            decode_safe_tree(encode_tree(entries).data)
        return

    decoded = decode_safe_tree(encode_tree(entries).data)

    assert list(tree.items()) == list(decoded.items())
    assert list(tree) == list(decoded)
    assert len(tree) == len(decoded)
    assert tree.get(name) == decoded.get(name)
    assert all(tree[each] == entry for each, entry in decoded.items())


@given(st.binary(max_size=80) | ENTRIES.map(lambda entries: encode_tree(entries).data + b"x"))
def test_it_refuses_what_is_no_tree(data: bytes) -> None:
    try:
        decoded = decode_safe_tree(data)
    except ValueError:
        with pytest.raises(ValueError, match="tree"):
            StoredTree(data)
    else:
        assert dict(StoredTree(data)) == decoded


@given(ENTRIES, st.dictionaries(NAMES, st.none() | st.builds(TreeEntry, st.just(MODE_FILE), st.just(SHA))))
def test_what_is_changed_in_it_is_as_if_it_were_made_anew(
    entries: dict[str, TreeEntry], changes: dict[str, TreeEntry | None]
) -> None:
    before = stored_tree(entries)
    whole = {name: entry for name, entry in {**entries, **changes}.items() if entry is not None}
    if before is None or stored_tree(whole) is None:
        return

    tree, after = changed(before, changes)

    assert tree == encode_tree(whole)
    assert dict(after) == whole
    for other in (after, StoredTree(tree.data)):
        assert {name: (old, new) for name, old, new in differing(before, other)} == {
            name: (entries.get(name), whole.get(name))
            for name in entries.keys() | whole.keys()
            if entries.get(name) != whole.get(name)
        }


@given(ENTRIES, st.dictionaries(NAMES, st.none() | st.builds(TreeEntry, st.just(MODE_FILE), st.just(SHA))))
def test_what_was_changed_in_it_is_like_one_that_was_read(
    entries: dict[str, TreeEntry], changes: dict[str, TreeEntry | None]
) -> None:
    whole = {name: entry for name, entry in {**entries, **changes}.items() if entry is not None}
    before, read = stored_tree(entries), stored_tree(whole)
    if before is None or read is None:
        return

    made = before.changed(changes)

    assert made.data == read.data
    assert [*made.lines()] == [*read.lines()]
    assert [*made.items()] == [*read.items()]
    assert made.is_in_order
    assert read.is_in_order
    assert all(made[name] == entry for name, entry in whole.items())


@pytest.mark.parametrize("name", [".git", "..", "GIT~1"])
def test_a_name_that_may_be_in_no_tree_gets_into_none_by_a_change(name: str) -> None:
    tree = StoredTree(encode_tree({"a": TreeEntry(MODE_FILE, SHA)}).data)

    with pytest.raises(ValueError, match="leads elsewhere"):
        tree.changed({name: TreeEntry(MODE_FILE, SHA)})


def test_two_trees_differ_also_where_the_end_of_a_long_name_of_one_looks_like_a_line_of_the_other() -> None:
    file = TreeEntry(MODE_FILE, SHA)
    two = {"a": file, "b": file}
    one = {f"long {MODE_FILE} b": file}
    trees = [StoredTree(encode_tree(each).data) for each in (two, one)]
    assert trees[0].data[-29:] == trees[1].data[-29:]

    there = [{name for name, _, _ in differing(*pair)} for pair in (trees, trees[::-1])]

    assert there == [two.keys() | one.keys()] * 2


def test_two_states_of_a_folder_of_very_many_are_compared_where_they_differ_alone() -> None:
    entries = {f"{number}": TreeEntry(MODE_FILE, f"{number:040x}") for number in range(20_000)}
    before = StoredTree(encode_tree(entries).data)
    after = before.changed({"777": None, "7777": TreeEntry(MODE_FILE, SHA)})

    lines, others = before.apart_from(after)

    assert [name for name, _, _ in differing(before, after)] == ["777", "7777"]
    between = sum("777" <= name <= "7777" for name in entries)
    assert (len(lines), len(others)) == (between, between - 1)
    assert before.apart_from(StoredTree(before.data)) == ([], [])


def test_a_tree_that_is_out_of_order_is_put_in_order_by_a_change() -> None:
    ordered = encode_tree({"a": TreeEntry(MODE_FILE, SHA), "b": TreeEntry(MODE_FILE, SHA)}).data
    line = len(ordered) // 2
    tree = StoredTree(ordered[line:] + ordered[:line])
    assert (tree.get("a"), tree.get("c")) == (TreeEntry(MODE_FILE, SHA), None)

    made, _ = changed(tree, {"c": TreeEntry(MODE_FILE, SHA)})

    assert made == encode_tree({name: TreeEntry(MODE_FILE, SHA) for name in "abc"})


@pytest.mark.parametrize(
    ("new", "twin"), [("NOTES-7", "notes-7"), ("re\u0301sume\u0301", "r\u00e9sum\u00e9"), ("fresh", None)]
)
def test_a_new_name_that_is_a_neighbours_on_other_systems_is_found(new: str, twin: str | None) -> None:
    names = {f"notes-{number}": TreeEntry(MODE_FILE, SHA) for number in range(10)}
    others = {"r\u00e9sum\u00e9": TreeEntry(MODE_FILE, SHA)} if twin != "notes-7" else {}
    tree = StoredTree(encode_tree({**names, **others, new: TreeEntry(MODE_FILE, SHA)}).data)

    assert find_twins_in(tree, [new]) == ({} if twin is None else {new: twin})


def test_an_edit_in_a_folder_of_very_many_takes_it_apart_nowhere_and_keeps_it_in_the_size_that_is_stored() -> (
    None
):
    entries = {f"notes-{number}": TreeEntry(MODE_FILE, SHA) for number in range(10_000)}
    root = encode_tree(entries)
    objects = {object_id(root): root}
    reader = Reader(ObjectMap(objects))

    editor = TreeEditor(reader)
    made = editor.apply(object_id(root), [FileEdit("notes-77", b"new"), FileEdit("also-new", b"new")])

    assert isinstance(reader.tree(object_id(root)), StoredTree)
    assert isinstance(reader.tree(made), StoredTree)
    assert reader.memory_bytes < 3 * len(root.data)
    new = TreeEntry(MODE_FILE, object_id(GitObject(Kind.BLOB, b"new")))
    assert editor.objects[made] == encode_tree({**entries, "notes-77": new, "also-new": new})
    with pytest.raises(TreeConflictError, match="on macOS or Windows"):
        TreeEditor(reader).apply(object_id(root), [FileEdit("Notes-77", b"new")])


def test_what_is_asked_of_a_folder_takes_time_by_how_much_that_is_and_not_by_each_name_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tree = StoredTree(encode_tree({f"{number}": TreeEntry(MODE_FILE, SHA) for number in range(20_000)}).data)
    assert tree.get("7") is not None  # it is in order, that is looked at once
    looked: list[bytes] = []
    key_of = stored._sort_key

    def noted(line: bytes) -> bytes:
        looked.append(line)
        return key_of(line)

    monkeypatch.setattr(stored, "_sort_key", noted)

    assert all(tree.get(f"{number}") for number in range(100))
    assert len(looked) <= 100 * 2 * 17
    looked.clear()
    assert len([*differing({}, tree)]) == 20_000
    assert not looked


def test_the_roots_of_ten_commits_of_a_memory_of_100_000_files_are_read_once() -> None:
    tree = StoredTree(
        encode_tree({f"notes-{n}": TreeEntry(MODE_TREE, f"{n:040x}") for n in range(10_000)}).data
    )
    made = [tree.changed({"notes-3": TreeEntry(MODE_TREE, f"{n:040x}")}) for n in range(11)]
    objects = {object_id(item): item for item in (GitObject(Kind.TREE, each.data) for each in made)}
    read: list[str] = []

    class Noted(ObjectMap):
        def find(self, sha: str) -> GitObject | None:
            """Return an object; note it."""
            read.append(sha)
            return super().find(sha)

    reader = Reader(Noted(objects))
    for sha in [*objects] * 3:
        assert reader.tree(sha).get("notes-3") is not None

    assert read == [*objects]
    assert reader.memory_bytes < 8 * MIB
