"""The ledger of a warm repository: what became of each request, for as long as a message may still carry its id.

Its lines lie in files of the repository that are appended to, so that saving it costs what is new, whatever it holds;
a file whose lines are all forgotten is removed, and one that is mostly forgotten made anew, one at a time. In memory
a line takes under 200 bytes. Damage to the files is damage to the local copy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from memrepo.limits import KEPT_HORIZONS
from memrepo_worker.journal.ledger import LedgerLine
from memrepo_worker.repos.ledger_segment import RECORDS_MAX, LedgerSegment, SegmentFile, hash_of

_PREFIX = "ledger-"
_LINE_BYTES = 110


class Ledger:
    """The settled requests of one agent, by request id; forgets what is older than the horizon."""

    def __init__(self, folder: Path) -> None:
        """``folder`` is where its files go when it is saved; none are there."""
        self._folder = folder
        self._numbers = count(1)
        self._segments: list[LedgerSegment] = []
        self._hashes: set[int] = set()  # of all lines, and of some that were forgotten
        self._forgotten = 0

    @classmethod
    def load(cls, folder: Path, files: Sequence[SegmentFile]) -> Ledger:
        """Read a ledger that was saved.

        Raises:
            ValueError, OSError: it is damaged, or cannot be read.
        """
        ledger = cls(folder)
        numbers = [int(file.name.removeprefix(_PREFIX)) for file in files]
        ledger._numbers = count(1 + max(numbers, default=0))
        for file in files:
            segment = LedgerSegment.load(folder, file)
            again = ledger._hashes.intersection(segment.hashes)
            if again:  # lines that were replaced by later ones
                for line in [line for line in segment.lines() if hash_of(line.request_id) in again]:
                    ledger._remove(line.request_id)
            ledger._segments.append(segment)
            ledger._hashes.update(segment.hashes)
        ledger.tidy()
        return ledger

    def find(self, request_id: str) -> LedgerLine | None:
        """Return what became of a request, or None when it was not settled (within the horizon).

        Raises:
            WarmRepoDamagedError: a file of the ledger is not what was written.
        """
        if hash_of(request_id) not in self._hashes:
            return None
        found = (segment.find(request_id) for segment in reversed(self._segments))
        return next((line for line in found if line is not None), None)

    def following(self, lines: Iterable[LedgerLine]) -> Iterator[LedgerLine]:
        """Yield the lines of an entry that comes after all that is here.

        What became of a request is told once, but for a refusal of one that was too old: another line that is here in
        the same words comes with a copy of its entry. The first such line is looked for.

        Raises:
            ValueError: so it is.
            WarmRepoDamagedError: a file of the ledger is not what was written.
        """
        rest = iter(lines)
        for line in rest:
            if line.may_come_again:
                yield line
                continue
            if self.find(line.request_id) == line:
                raise ValueError("it is a copy of an earlier one, which tells of the same requests")
            yield line
            break
        yield from rest

    def remember(self, lines: Iterable[LedgerLine]) -> None:
        """Add lines in the journal's order.

        A second line for an id is there only where its first was forgotten before: the later one counts, and lies among
        those of its time.
        """
        for line in lines:
            key = hash_of(line.request_id)
            if key in self._hashes:
                self._remove(line.request_id)
            self._open_segment().add(line)
            self._hashes.add(key)

    def forget(self, now_s: float, horizon_s: float) -> None:
        """Drop the lines of requests that no message can carry any more.

        That is what is older than twice the horizon: a retry within it may itself be delivered at its own horizon's
        end. Age is counted back from this machine's clock or from the newest request here, whichever is earlier, so
        that no single clock that is wrong forgets a line early. The newest delete stays: it says which seal this is.
        """
        before = len(self)
        if not before:
            return
        newest_s = max(segment.newest_s for segment in self._segments)
        oldest_s = min(now_s, newest_s) - KEPT_HORIZONS * horizon_s
        sealed = next((one for one in reversed(self._segments) if one.newest_delete is not None), None)
        for segment in self._segments:
            segment.forget(oldest_s, segment.newest_delete if segment is sealed else None)
        self._segments = [segment for segment in self._segments if len(segment)]
        self._forgotten += before - len(self)
        if 4 * self._forgotten > len(self):
            self._hashes = {key for segment in self._segments for key in segment.hashes}
            self._forgotten = 0

    @property
    def memory_bytes(self) -> int:
        """About how much memory it takes (``make bench ROWS=ledger`` measures it)."""
        return _LINE_BYTES * len(self)

    def __len__(self) -> int:
        return sum(map(len, self._segments))

    def __iter__(self) -> Iterator[LedgerLine]:
        """Yield all lines, oldest first.

        Raises:
            WarmRepoDamagedError: a file of the ledger is not what was written.
        """
        for segment in self._segments:
            yield from segment.lines()

    # On disk

    def save(self) -> tuple[SegmentFile, ...]:
        """Write what is new, and return what is to be given to ``load``. Then call ``tidy``.

        Raises:
            WarmRepoDamagedError: a file of the ledger is not what was written.
            OSError: the disk does not take it.
        """
        self._compact()
        for segment in self._segments:
            segment.write()
        return tuple(segment.file for segment in self._segments)

    def tidy(self) -> None:
        """Remove the files that are no part of it any more, once what ``save`` returned is safely kept."""
        names = {segment.path.name for segment in self._segments}
        for path in self._folder.glob(f"{_PREFIX}*"):
            if path.name not in names:
                with suppress(OSError):
                    path.unlink()

    def _compact(self) -> None:
        """Write one file anew that is mostly forgotten, together with the one before where that is small, too.

        One at a time bounds what a save costs; for each line that is forgotten about one is written again.
        """
        for index, segment in enumerate(self._segments):
            takes_lines = index == len(self._segments) - 1 and not segment.is_full
            if takes_lines or not segment.is_sparse:
                continue
            first = index
            if index and len(self._segments[index - 1]) + len(segment) <= RECORDS_MAX // 2:
                first = index - 1
            whole = self._new_segment()
            for old in self._segments[first : index + 1]:
                for line in old.lines():
                    whole.add(line)
            self._segments[first : index + 1] = [whole]
            return

    def _open_segment(self) -> LedgerSegment:
        if not self._segments or self._segments[-1].is_full:
            for segment in self._segments[-1:]:
                with suppress(OSError):  # what the disk does not take now, ``save`` tries again
                    segment.write()
            self._segments.append(self._new_segment())
        return self._segments[-1]

    def _new_segment(self) -> LedgerSegment:
        return LedgerSegment(self._folder / f"{_PREFIX}{next(self._numbers)}")

    def _remove(self, request_id: str) -> None:
        any(segment.remove(request_id) for segment in reversed(self._segments))
