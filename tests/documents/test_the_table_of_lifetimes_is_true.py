"""How long things are kept is told in one table, by the numbers of the one module that has them."""

from __future__ import annotations

import re
from pathlib import Path

import memrepo.limits as module
from memrepo.settings import Settings
from memrepo_worker.settings import WorkerSettings

ROOT = Path(__file__).resolve().parents[2]
TABLE = (ROOT / "docs" / "operations.md").read_text().partition("\n## Lifetimes")[2].partition("\n## ")[0]
ROWS = re.findall(r"^\| [^|]*\(`([A-Z_]+)`\)[^|]* \| [^|]+ \| ([0-9]+) (h|min|s)\b", TABLE, re.MULTILINE)
UNITS_S = {"h": 3600, "min": 60, "s": 1}
INTERNAL = {"MARKS_SPAN_S"}


def test_each_is_in_the_table_as_it_is() -> None:
    told = {(name, int(number) * UNITS_S[unit]) for name, number, unit in ROWS}
    kept = {
        (name, value) for name, value in vars(module).items() if name.endswith("_S") and name not in INTERNAL
    }

    assert told == kept


def test_a_ledger_line_outlives_the_horizon_of_a_message_that_was_sent_at_the_horizon() -> None:
    hours = module.KEPT_HORIZONS * module.HORIZON_S // 3600

    assert f"| {hours} h, counted back from the newest time" in TABLE
    assert module.RECORD_KEPT_S >= module.KEPT_HORIZONS * module.HORIZON_S >= 2 * module.REQUEST_KEPT_S


def test_the_settings_begin_with_them() -> None:
    assert Settings().result_expires_s == WorkerSettings().result_expires_s == module.RESULT_KEPT_S
    assert WorkerSettings().result_body_expires_s == module.LARGE_RESULT_KEPT_S
