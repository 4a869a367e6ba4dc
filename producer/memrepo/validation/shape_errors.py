"""What pydantic finds wrong with the shape of a value, in our words: the field, and what is accepted there."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from memrepo.errors import InvalidRequestError

_ACCEPTED: Mapping[str, str] = {
    "string_type": "str",
    "bool_type": "bool",
    "bool_parsing": "bool",
    "int_type": "int",
    "int_parsing": "int",
    "int_from_float": "int",
    "float_type": "a number",
    "tuple_type": "a sequence",
}
"""What a field takes, by the name of pydantic's complaint."""


def invalid_request(error: ValidationError, model: type[BaseModel], unknown: str) -> InvalidRequestError:
    """Return our error for the first thing that is wrong with a model's values; never with the value itself.

    ``unknown`` is what is said of a field that the model does not have.
    """
    first = error.errors(include_url=False)[0]
    reason = unknown if first["type"] == "extra_forbidden" else _reason(first, model)
    return InvalidRequestError.of(_field_of(first["loc"]), reason)


def _reason(fault: ErrorDetails, model: type[BaseModel]) -> str:
    if fault["type"] == "missing":
        return "is required"
    accepted = _ACCEPTED.get(fault["type"])
    if fault["type"] in ("model_type", "model_attributes_type"):
        accepted = str(fault["ctx"]["class_name"])
    if accepted is None:  # a sentence of its own, ours or pydantic's
        return fault["msg"].replace("Input should be", "must be", 1)
    or_none = " or None" if _takes_none(model, fault["loc"]) else ""
    return f"must be {accepted}{or_none}, not {type(fault['input']).__name__}"


def _takes_none(model: type[BaseModel], location: tuple[int | str, ...]) -> bool:
    """Return whether a field of the model itself takes None."""
    field: Any = model.model_fields.get(str(location[0])) if len(location) == 1 else None
    return field is not None and NoneType in get_args(field.annotation)


def _field_of(location: tuple[int | str, ...]) -> str:
    """Write pydantic's location of a value as ``changes[0].path``, as ``check`` does.

    Which of several models it was that the value was read as, ``<append>`` for one, says nothing to a caller.
    """
    named = (part for part in location if not str(part).startswith("<"))
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in named]
    return "".join(parts).removeprefix(".") or "request"
