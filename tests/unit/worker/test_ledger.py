"""A ledger remembers and forgets as told, costs what is new, and its files are believed only as they were written."""

from __future__ import annotations

import math
import tracemalloc
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrepo.errors import InvalidRequestError, MemoryRepoError
from memrepo.validation.values import check_time
from memrepo_worker.journal.ledger import COMMITTED, DELETED, LedgerLine, decode_lines, encode_lines
from memrepo_worker.repos import ledger as ledger_module
from memrepo_worker.repos import ledger_segment
from memrepo_worker.repos.ledger import Ledger
from memrepo_worker.repos.ledger_segment import SegmentFile
from memrepo_worker.repos.trust import WarmRepoDamagedError

HORIZON_S = 100.0


def line(number: int, at_s: float = 0.0, verdict: str = COMMITTED) -> LedgerLine:
    return LedgerLine(f"request-{number:08d}", f"{number:032x}", verdict, at_s, f"{number:040x}")


@pytest.fixture
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limit_files(monkeypatch, 8)


def limit_files(patch: pytest.MonkeyPatch, records: int) -> None:
    patch.setattr(ledger_segment, "RECORDS_MAX", records)
    patch.setattr(ledger_module, "RECORDS_MAX", records)


class Plain:
    """What a ledger is to remember, said as simply as can be."""

    def __init__(self) -> None:
        self.lines: dict[str, LedgerLine] = {}

    def remember(self, lines: Iterable[LedgerLine]) -> None:
        for one in lines:
            self.lines.pop(one.request_id, None)
            self.lines[one.request_id] = one

    def forget(self, now_s: float) -> None:
        newest_s = max((one.enqueued_at for one in self.lines.values()), default=now_s)
        oldest_s = min(now_s, newest_s) - 2 * HORIZON_S
        deleted = [key for key, one in self.lines.items() if one.verdict == DELETED]
        self.lines = {
            key: one for key, one in self.lines.items() if one.enqueued_at >= oldest_s or key in deleted[-1:]
        }


TIMES = st.integers(0, 1200).map(float)
LINES = st.builds(line, st.integers(0, 60), TIMES, st.sampled_from([COMMITTED] * 4 + [DELETED]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("remember"), st.lists(LINES, min_size=1, max_size=20)),
        st.tuples(st.just("forget"), TIMES),
        st.tuples(st.just("save"), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=200)
@given(steps=STEPS)
def test_it_remembers_and_forgets_by_its_rule_in_whatever_files_its_lines_lie(
    steps: list[tuple[str, object]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    ledger, plain = Ledger(tmp_path_factory.mktemp("ledger")), Plain()
    with pytest.MonkeyPatch.context() as patch:
        limit_files(patch, 8)
        for step, value in steps:
            if step == "remember" and isinstance(value, list):
                ledger.remember(value)
                plain.remember(value)
            elif step == "forget" and isinstance(value, float):
                ledger.forget(value, HORIZON_S)
                plain.forget(value)
            else:
                ledger.save()
                ledger.tidy()
            assert list(ledger) == list(plain.lines.values())
            assert len(ledger) == len(plain.lines)
            assert all(
                ledger.find(f"request-{n:08d}") == plain.lines.get(f"request-{n:08d}") for n in range(61)
            )


@pytest.mark.usefixtures("small_files")
def test_what_was_saved_is_read_again(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.remember(line(number, number) for number in range(30))
    ledger.save()
    again = line(3, 31, DELETED)
    ledger.remember([again, line(40, 40)])
    files = ledger.save()

    found = Ledger.load(tmp_path, files)

    assert list(found) == list(ledger)
    assert found.find(again.request_id) == again
    found.remember([line(41, 41)])
    assert [one.enqueued_at for one in Ledger.load(tmp_path, found.save())][-2:] == [40, 41]


def test_an_id_that_is_there_twice_in_one_file_is_read_as_its_later_line(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.remember([line(1, 1), line(2, 2), line(1, 3)])

    found = Ledger.load(tmp_path, ledger.save())

    assert list(found) == [line(2, 2), line(1, 3)]


def test_what_was_being_written_when_a_process_ended_is_cut_off(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.remember([line(1)])
    files = ledger.save()
    ledger.remember([line(2)])
    ledger.save()  # but what it returns was never kept
    (tmp_path / "ledger-77").write_bytes(b"left behind")

    found = Ledger.load(tmp_path, files)
    found.remember([line(3)])

    assert list(Ledger.load(tmp_path, found.save())) == [line(1), line(3)]
    assert [path.name for path in tmp_path.iterdir()] == ["ledger-1"]


def test_a_save_writes_what_is_new_however_much_is_known(tmp_path: Path) -> None:
    few, many = Ledger(tmp_path / "few"), Ledger(tmp_path / "many")
    written = {}
    for ledger, known in ((few, 400), (many, 40_000)):
        (folder := ledger._folder).mkdir()
        ledger.remember(line(number, 10**6 + number) for number in range(known))
        ledger.save()
        before = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}
        ledger.remember(line(number, 10**6 + number) for number in range(known, known + 64))
        ledger.forget(10**6 + known + 64, known / 2)
        ledger.save()
        after = {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in folder.iterdir()}
        changed = [path for path in after if after[path] != before.get(path)]
        written[known] = sum(after[path][0] - before.get(path, (0, 0))[0] for path in changed)
        assert len(changed) == 1

    assert written[40_000] == written[400]


def test_files_stay_few_and_small_while_requests_come_and_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit_files(monkeypatch, 64)
    ledger = Ledger(tmp_path)
    from_a_wrong_clock = [line(10**6 + number, 50_000.0 + number) for number in range(20)]
    kept = iter(from_a_wrong_clock)
    for number in range(0, 10_000, 20):
        ledger.remember(line(each, float(each)) for each in range(number, number + 20))
        if number % 500 == 0:
            ledger.remember([next(kept)])
        ledger.forget(float(number), HORIZON_S)
        files = ledger.save()
        ledger.tidy()

    known = 2 * HORIZON_S + 20 + len(from_a_wrong_clock)
    assert len(ledger) <= known
    assert len(files) == len(list(tmp_path.iterdir())) <= known / 16
    assert all(ledger.find(one.request_id) == one for one in from_a_wrong_clock)


def test_a_line_takes_less_than_200_bytes_of_memory(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.remember(line(number, number) for number in range(20_000))
    files = ledger.save()

    tracemalloc.start()
    found = Ledger.load(tmp_path, files)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert len(found) == 20_000
    assert taken / 20_000 < 200


# Damage


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[60] ^= 1
    path.write_bytes(data)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path) -> None:
    path.write_bytes(b"")


WAYS = [cut, flip, zero, empty, Path.unlink]


def saved(folder: Path) -> tuple[Ledger, tuple[SegmentFile, ...]]:
    ledger = Ledger(folder)
    ledger.remember([line(1)])
    return ledger, ledger.save()


@pytest.mark.parametrize("damage", WAYS)
def test_a_damaged_file_is_never_read(damage: Callable[[Path], None], tmp_path: Path) -> None:
    _, files = saved(tmp_path)
    damage(tmp_path / files[0].name)

    with pytest.raises((ValueError, OSError)):
        Ledger.load(tmp_path, files)


@pytest.mark.parametrize("damage", WAYS)
def test_damage_while_it_is_in_use_is_noticed_before_anything_is_told(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    ledger, files = saved(tmp_path)
    damage(tmp_path / files[0].name)

    with pytest.raises(WarmRepoDamagedError):
        ledger.find(line(1).request_id)
    with pytest.raises(WarmRepoDamagedError):
        list(ledger)


@pytest.mark.parametrize("damage", [cut, empty, Path.unlink])
def test_nothing_is_appended_to_a_file_that_lost_something(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    ledger, files = saved(tmp_path)
    damage(tmp_path / files[0].name)
    ledger.remember([line(2)])

    with pytest.raises(WarmRepoDamagedError):
        ledger.save()


def test_an_empty_ledger_has_no_file_and_forgets_nothing(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.forget(math.inf, HORIZON_S)

    assert ledger.save() == ()
    assert ledger.find("request-1") is None
    assert list(tmp_path.iterdir()) == []


@given(
    st.floats(allow_nan=True, allow_infinity=True),
    st.dictionaries(st.text(max_size=20), st.text(max_size=50), max_size=3),
    st.text(max_size=200),
)
def test_whatever_time_a_request_may_have_its_line_is_read_again(
    time_s: float, details: dict[str, str], message: str
) -> None:
    with suppress(InvalidRequestError):
        check_time(time_s, "enqueued_at")
        error = MemoryRepoError(message.encode(errors="replace").decode(), details)
        line = LedgerLine.of_error("request-1", "0" * 32, time_s, error)

        (read,) = decode_lines(encode_lines([line]))

        assert (read.request_id, read.verdict, read.detail) == (line.request_id, line.verdict, line.detail)
        assert abs(read.enqueued_at - time_s) <= 0.001


def test_a_zero_with_a_sign_is_no_time() -> None:
    with pytest.raises(InvalidRequestError, match="enqueued_at"):
        check_time(-0.0, "enqueued_at")
