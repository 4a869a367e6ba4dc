"""docs/design: a page for each decision, all of one form, and ARCHITECTURE.md lists them all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.documents import DESIGN, ROOT

LISTED = re.findall(
    r"^- \[(\d{4})\]\((docs/design/\S+)\) (.+)$", (ROOT / "ARCHITECTURE.md").read_text(), re.MULTILINE
)


def test_every_page_is_listed_under_its_number_and_title() -> None:
    pages = [
        (page.name[:4], str(page.relative_to(ROOT)), page.read_text().partition("\n")[0].removeprefix("# "))
        for page in DESIGN
    ]

    assert pages == LISTED
    assert [number for number, _, _ in LISTED] == [f"{number:04d}" for number in range(1, len(DESIGN) + 1)]


@pytest.mark.parametrize("page", DESIGN, ids=lambda page: page.name)
def test_a_page_has_problem_decision_alternatives_and_figures(page: Path) -> None:
    assert re.findall("^## (.+)$", page.read_text(), re.MULTILINE) == [
        "Problem",
        "Decision",
        "Alternatives",
        "Figures",
    ]


@pytest.mark.parametrize("page", DESIGN, ids=lambda page: page.name)
def test_it_is_one_page(page: Path) -> None:
    assert len(page.read_text().splitlines()) <= 60
