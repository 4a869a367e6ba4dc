"""What all models are: frozen, with a JSON form, and how file content crosses in it.

File content is ``bytes``; its JSON form is ``{"utf8": "…"}`` where it is text and ``{"base64": "…"}`` where it is
not. Written with a ``ContentWriter`` as the context it is what that says, and read with contents as the context,
``{"attached": number}`` is one of them.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    JsonValue,
    PlainSerializer,
    SerializationInfo,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from memrepo.validation.shape_errors import invalid_request

ContentWriter = Callable[[bytes], dict[str, Any]]
"""Says what stands for a content in the JSON."""


def _content_to_json(data: bytes | None, info: SerializationInfo) -> dict[str, Any] | None:
    if data is None:
        return None
    if info.context is not None:
        write: ContentWriter = info.context
        return write(data)
    try:
        return {"utf8": data.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _content_from_json(value: object, info: ValidationInfo) -> bytes | None:
    contents: Sequence[bytes] = info.context or ()
    match value:
        case {"attached": int(number), **more} if not more and 0 <= number < len(contents):
            return contents[number]
        case {"utf8": str(text), **more} if not more:
            return text.encode()
        case {"base64": str(text), **more} if not more:
            return base64.b64decode(text, validate=True)
        case str():
            return value.encode()
        case bytes() | None:
            return value
        case bytearray() | memoryview():
            return bytes(value)
    kind = type(value).__name__
    raise PydanticCustomError(
        "content", "must be str, bytes or None (which deletes), not {kind}", {"kind": kind}
    )


def _one(name: str, kind: str) -> JsonValue:
    return {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}


_CONTENT_SCHEMA: JsonValue = {
    "description": "Text, or bytes in base64; where contents travel apart, the number of one, counted from 0.",
    "anyOf": [_one("utf8", "string"), _one("base64", "string"), _one("attached", "integer")],
}

Content = Annotated[
    bytes,
    BeforeValidator(_content_from_json),
    PlainSerializer(_content_to_json, when_used="json"),
    WithJsonSchema(_CONTENT_SCHEMA),
]


class Model(BaseModel):
    """Base of all models: immutable, strict about unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="null")

    if not TYPE_CHECKING:  # type checkers know the fields

        def __init__(self, **values: object) -> None:
            """Take the fields' values.

            Raises:
                InvalidRequestError: naming the first field whose value has another shape.
            """
            try:
                super().__init__(**values)
            except ValidationError as error:
                kind = type(self)
                raise invalid_request(error, kind, unknown=f"is no field of {kind.__name__}") from None

        # Pydantic's own mark: values inside of others are still built without a call of this.
        __init__.__pydantic_base_init__ = True


class ResultModel(Model):
    """Base of what workers answer: fields that a later version has added are passed over."""

    model_config = ConfigDict(extra="ignore")
