"""A delete is over, or waits, whatever else lies where the memory does: no thread looks again and again for ever."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from memrepo.errors import RepoNotFoundError
from memrepo_worker.store.backends.local import LocalStore
from memrepo_worker.store.backends.memory import MemoryStore
from memrepo_worker.store.decorators.base import StoreDecorator
from memrepo_worker.store.interface import ABSENT, ListedObject, Store, UnavailableError
from tests.support.writers import AGENT, create, delete, files, writer

FOREIGN = f"{AGENT}/repo.git/what-stays"
LISTINGS_MAX = 200


class KeepingStore(StoreDecorator):
    """Says that it has removed what it keeps; fails a test that lists without end."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.keeps = True
        self.listings = 0

    def list(self, prefix: str, start_after: str = "") -> Iterator[ListedObject]:
        self.listings += 1
        assert self.listings <= LISTINGS_MAX, "it looks again and again"
        return super().list(prefix, start_after)

    def delete(self, keys: Iterable[str]) -> None:
        super().delete(key for key in keys if not (self.keeps and key == FOREIGN))


def test_what_is_listed_still_after_it_was_removed_is_waited_for(tmp_path: Path) -> None:
    store = KeepingStore(MemoryStore())
    with writer(store, tmp_path) as one:
        one.ask(create(a="1"))
        store.put(FOREIGN, b"x", ABSENT)
        request = delete()

        with pytest.raises(UnavailableError, match="does not hold still"):
            one.ask(request)
        store.keeps = False
        one.ask(request)

        with pytest.raises(RepoNotFoundError):
            one.ask(files())


@pytest.mark.parametrize(
    "name", [b"x%", b"%2f", b"%2fx", b"%e9", b"caf\xc3\xa9", b"\xff", b"y" * 250, b"CAPS", b"a b"]
)
@pytest.mark.parametrize("folder", [b".", b"z%", b"%2f"])
def test_files_to_which_no_key_leads_are_none_of_a_folders_objects(
    folder: bytes, name: bytes, tmp_path: Path
) -> None:
    store = KeepingStore(LocalStore(tmp_path / "store"))
    store.keeps = False
    with writer(store, tmp_path / "cache") as one:
        one.ask(create(a="1"))
        (place,) = (tmp_path / "store").glob("acme/*/repo.git")
        keys = [item.key for item in store.list(f"{AGENT}/")]
        path = bytes(place) + b"/" + folder + b"/" + name
        Path(path.decode(errors="surrogateescape")).parent.mkdir(exist_ok=True)
        Path(path.decode(errors="surrogateescape")).write_bytes(b"x")

        assert [item.key for item in store.list(f"{AGENT}/")] == keys
        one.delete()

        with pytest.raises(RepoNotFoundError):
            one.ask(files())
