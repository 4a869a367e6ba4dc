"""Whatever a request may have in it, its commit reads as it was made: so it need not be decoded by who made it."""

from __future__ import annotations

from contextlib import suppress

from hypothesis import assume, example, given
from hypothesis import strategies as st

from memrepo.errors import InvalidRequestError
from memrepo.limits import Limits
from memrepo.validation.values import check_ident, check_message
from memrepo_worker.git.objects import Commit, GitObject, Ident, decode_sound_commit, encode_commit, object_id
from memrepo_worker.git.reader import ObjectMap, Reader

TREE, PARENT = "a" * 40, "b" * 40


def is_ident(text: str) -> bool:
    with suppress(InvalidRequestError):
        return check_ident(text, "name") == text
    return False


def is_message(text: str) -> bool:
    with suppress(InvalidRequestError):
        return check_message(text, Limits()) == text
    return False


@given(
    name=st.text(min_size=1, max_size=20),
    email=st.text(min_size=1, max_size=20),
    message=st.text(min_size=1, max_size=60),
    authored=st.integers(min_value=-(10**17), max_value=10**17),
    parents=st.sampled_from([(), (PARENT,), (PARENT, TREE)]),
)
@example(name="Ann", email="a@b", message="\n\nencoding latin-1\n\n", authored=0, parents=())
@example(name="1 2 +0000", email="tree", message="tree x\nparent y\n", authored=-1, parents=(PARENT,))
@example(name="A\u2028B", email="\u0085x", message="\r\n\x0b\x1c", authored=1, parents=())
def test_a_commit_reads_as_it_was_made(
    name: str, email: str, message: str, authored: int, parents: tuple[str, ...]
) -> None:
    assume(is_ident(name) and is_ident(email) and is_message(message))
    made = Commit(TREE, parents, Ident(name, email, authored), Ident("memrepo", "m@localhost", 7), message)

    assert decode_sound_commit(encode_commit(made).data) == made


def test_a_reader_tells_no_other_of_a_commit_that_was_only_made() -> None:
    objects: dict[str, GitObject] = {}
    made = Commit(TREE, (), Ident("a", "b", 1), Ident("a", "b", 1), "m")
    item = encode_commit(made)
    below = Reader(ObjectMap({}))
    above = below.layered(ObjectMap(objects))
    objects[object_id(item)] = item

    above.made_commit(object_id(item), made)

    assert above.commit(object_id(item)) is made
    assert below.memory_bytes == 0


def test_what_was_made_is_not_decoded_once_it_is_here_for_good() -> None:
    made = Commit(TREE, (), Ident("a", "b", 1), Ident("a", "b", 1), "m")
    item = encode_commit(made)
    below = Reader(ObjectMap({object_id(item): item}))
    above = below.layered(ObjectMap({}))
    above.made_commit(object_id(item), made)

    below.remember_made(above)

    assert below.commit(object_id(item)) is made
