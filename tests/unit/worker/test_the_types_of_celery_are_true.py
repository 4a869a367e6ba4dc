"""What ``typings/celery`` says of Celery is there: each module, class, function and method, with these arguments."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from tests.support.documents import ROOT

TYPINGS = ROOT / "typings"
STUBS = sorted(TYPINGS.rglob("*.pyi"))

Function = ast.FunctionDef | ast.AsyncFunctionDef


def module_of(stub: Path) -> str:
    return ".".join(stub.relative_to(TYPINGS).with_suffix("").parts).removesuffix(".__init__")


def untrue_in(owner: object, body: list[ast.stmt], where: str) -> Iterator[str]:
    """Yield what is said of a module or class and is not so; an instance's attributes cannot be asked for."""
    for node in body:
        name = getattr(node, "name", None)
        if isinstance(node, ast.AnnAssign) and isinstance(owner, type(inspect)):
            name = ast.unparse(node.target)
        if name is None or name.startswith("__"):
            continue
        if not hasattr(owner, name):
            yield f"{where}.{name}"
        elif isinstance(node, ast.ClassDef):
            yield from untrue_in(getattr(owner, name), node.body, f"{where}.{name}")
        elif isinstance(node, Function) and not node.decorator_list:
            yield from unknown_arguments(getattr(owner, name), node, f"{where}.{name}")


def unknown_arguments(function: object, said: Function, where: str) -> Iterator[str]:
    assert callable(function)
    known = inspect.signature(function).parameters
    takes_any = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values())
    for argument in [*said.args.args, *said.args.kwonlyargs]:
        if argument.arg not in known and not takes_any:
            yield f"{where}({argument.arg})"


@pytest.mark.parametrize("stub", STUBS, ids=module_of)
def test_what_is_said_of_a_module_is_so(stub: Path) -> None:
    module = module_of(stub)

    assert list(untrue_in(import_module(module), ast.parse(stub.read_text()).body, module)) == []


def test_what_is_not_so_is_named() -> None:
    said = ast.parse(
        "class Consumer:\n    def call_soon(self, q: int): ...\n    def gone(self): ...\nGONE: int"
    )

    untrue = list(untrue_in(import_module("celery.worker.consumer"), said.body, "it"))

    assert untrue == ["it.Consumer.gone", "it.GONE"]  # call_soon takes further arguments by any name
