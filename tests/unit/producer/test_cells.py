from __future__ import annotations

from collections import Counter

import pytest

from memrepo import InvalidRequestError, Settings
from memrepo.cells import parse_cells
from memrepo.routing import cell_in_id, cell_of, id_in_cell
from memrepo.settings import shown
from memrepo.validation.values import check_request_id
from memrepo.wire.agreement import CellsRecord, check_cells
from memrepo_worker.settings import WorkerSettings
from memrepo_worker.settings import shown as shown_of_worker

A, B = "redis://h1:6379/0", "sentinel://u:s3cr3t@h2:1,h3:2/main/0"
TWO = f"a={A} b={B}"
AGENTS = [("acme", f"agent-{number}") for number in range(3000)]


def spread(*cells: str) -> dict[tuple[str, str], str]:
    return {agent: cell_of(*agent, cells) for agent in AGENTS}


def test_agents_are_spread_evenly_by_the_names_alone() -> None:
    by_cell = Counter(spread("a", "b", "c").values())

    assert set(by_cell) == {"a", "b", "c"}
    assert all(900 < count < 1100 for count in by_cell.values())
    assert spread("c", "a", "b") == spread("a", "b", "c")


def test_where_an_agent_is_served_never_changes_between_versions() -> None:
    placed = [cell_of("acme", f"agent-{number}", ("a", "b", "c")) for number in range(12)]

    assert placed == list("abcbcabccbbb")


def test_a_cell_that_is_added_takes_its_share_and_nobody_else_moves() -> None:
    before, after = spread("a", "b"), spread("a", "b", "c")
    moved = {agent for agent in AGENTS if before[agent] != after[agent]}

    assert {after[agent] for agent in moved} == {"c"}
    assert 900 < len(moved) < 1100
    assert Counter(before[agent] for agent in moved).keys() == {"a", "b"}


def test_an_id_says_in_which_cell_its_job_is() -> None:
    made = "5e8f0c4e-54f5-4f0d-8f0d-0e1f2a3b4c5d"
    longest = "a" * 24

    assert cell_in_id(made) == ""
    assert cell_in_id(id_in_cell(made, "eu-1")) == "eu-1"
    assert check_request_id(id_in_cell(made, longest)).endswith(longest)


def test_a_list_is_read_in_the_order_of_its_names() -> None:
    cells = parse_cells(f"b={B}\n  b.results=redis://r/1 a={A}\n")

    assert list(cells) == ["a", "b"]
    assert (cells["a"].broker_url, cells["a"].result_url) == (A, A)
    assert (cells["b"].broker_url, cells["b"].result_url) == (B, "redis://r/1")
    assert "s3cr3t" not in repr(cells)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (A, "must list cells as NAME=ADDRESS"),
        (f"A={A}", "a name is 1 to 24 of a-z"),
        (f"a_b={A}", "a name is 1 to 24 of a-z"),
        (f"-a={A}", "a name is 1 to 24 of a-z"),
        (f"{'a' * 25}={A}", "a name is 1 to 24 of a-z"),
        (f"a={A},b={A}", "MEMREPO_CELLS, a: "),
        ("a=amqp://u:s3cr3t@h", "MEMREPO_CELLS, a: must begin with redis://"),
        (f"a={A} a={B}", "names cell a twice"),
        (f"a={A} b={A}", "has the cells a and b at one address"),
        (f"a={A} b.results={A}", "says where the results of cell b are, and not where its broker is"),
    ],
)
def test_a_list_that_makes_no_sense_is_named_without_its_secrets(text: str, said: str) -> None:
    for read in (Settings.from_env, WorkerSettings.from_env):
        with pytest.raises(InvalidRequestError, match=r"^MEMREPO_CELLS") as refused:
            read({"MEMREPO_CELLS": text})
        assert said in str(refused.value)
        assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("other", ["MEMREPO_BROKER_URL", "MEMREPO_RESULT_URL"])
def test_one_address_beside_the_list_is_refused(other: str) -> None:
    for read in (Settings.from_env, WorkerSettings.from_env):
        with pytest.raises(InvalidRequestError, match=f"^{other}: is set beside MEMREPO_CELLS"):
            read({"MEMREPO_CELLS": TWO, other: "redis://else/0"})


def test_without_a_cell_chosen_no_address_is_taken_for_granted() -> None:
    for settings in (Settings(cells=TWO), WorkerSettings(cells=TWO)):
        with pytest.raises(InvalidRequestError, match=r"^MEMREPO_CELL: is not set: .* a, b"):
            _ = settings.broker
        with pytest.raises(InvalidRequestError, match=r"^MEMREPO_CELL: "):
            _ = settings.results

    assert str(Settings(cells=TWO).of_cell("a").broker) == A
    assert Settings(cells=TWO).at("redis://else/0", None).each_cell == {}


def test_a_worker_serves_the_cell_that_is_named_and_proves_what_may_have_moved() -> None:
    named = WorkerSettings.from_env({"MEMREPO_CELLS": TWO, "MEMREPO_CELL": "a"})

    assert (str(named.broker), str(named.results)) == (A, A)
    assert named.tip_proof_s == 30
    assert WorkerSettings.from_env({"MEMREPO_CELLS": TWO, "MEMREPO_TIP_PROOF_S": "off"}).tip_proof_s is None
    assert WorkerSettings.from_env({}).tip_proof_s is None
    with pytest.raises(
        InvalidRequestError, match=r"^MEMREPO_CELL: names the cell 'c', and the cells are a, b"
    ):
        WorkerSettings.from_env({"MEMREPO_CELLS": TWO, "MEMREPO_CELL": "c"})
    with pytest.raises(InvalidRequestError, match=r"^MEMREPO_CELL: .* MEMREPO_CELLS is not set"):
        WorkerSettings.from_env({"MEMREPO_CELL": "a"})


def test_what_is_shown_of_the_list_has_no_secret() -> None:
    for values in (
        shown(Settings(cells=TWO)),
        shown_of_worker(WorkerSettings(cells=TWO)),
        shown_of_worker(WorkerSettings(cells=TWO).of_cell("b")),
    ):
        assert values["MEMREPO_CELLS"] == f"a={A} b=sentinel://u:***@h2:1,h3:2/main/0"
        assert "MEMREPO_BROKER_URL" not in values
        assert "s3cr3t" not in repr(values)
    assert "s3cr3t" not in repr((Settings(cells=TWO), WorkerSettings(cells=TWO)))


@pytest.mark.parametrize(
    "record",
    [
        CellsRecord("", ((),)),
        CellsRecord("a", (("a", "b"),)),
        CellsRecord("a", (("a", "b", "c"), ("a", "b"))),
        CellsRecord("a", (("a",), ())),
    ],
)
def test_a_record_is_read_as_it_was_written(record: CellsRecord) -> None:
    assert CellsRecord.read(str(record).encode()) == record


def test_while_a_list_is_changed_the_one_before_is_taken_too() -> None:
    two = CellsRecord.of("a", ["b", "a"])
    both = two.accepting("a", ["a", "b", "c"])

    for names in (["a", "b"], ["c", "b", "a"]):
        check_cells(str(both), "a", names)
    with pytest.raises(InvalidRequestError, match=r"is a, b, c here, but the workers of cell a use a, b;"):
        check_cells(str(two), "a", ["a", "b", "c"])
    with pytest.raises(InvalidRequestError, match=r"is not set here, .* this broker use a, b, c or a, b;"):
        check_cells(str(both), "", [])
    assert both.accepting("a", ["a", "b", "c"]) == both
    assert both.accepting("a", ["d", "a"]).lists == (("a", "d"), ("a", "b", "c"))


def test_an_address_of_another_cell_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"says that cell a is where cell b is"):
        check_cells(str(CellsRecord.of("b", ["a", "b"])), "a", ["a", "b"])


@pytest.mark.parametrize("written", ["", "-", "x", "a b c d e", "\0"])
def test_what_somebody_else_wrote_there_is_refused(written: str) -> None:
    with pytest.raises(InvalidRequestError, match=r"^MEMREPO_CELLS: is a, b here"):
        check_cells(written, "a", ["a", "b"])
