"""Attributes that are computed when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, Self, TypeVar, overload

Value_co = TypeVar("Value_co", covariant=True)


class lazy_property(Generic[Value_co]):  # noqa: N801 - a decorator
    """A property that is computed once for each object, and holds no lock meanwhile.

    Up to Python 3.11 ``functools.cached_property`` has one lock for all objects of a class: while it is computed for
    one of them, whoever asks another for the same waits. Where threads meet at the same object, each may compute it,
    and all get the value of one. The objects have a ``__dict__``; they may be frozen.
    """

    def __init__(self, compute: Callable[[Any], Value_co]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type) -> Value_co: ...

    def __get__(self, instance: object, owner: type) -> Self | Value_co:
        if instance is None:
            return self
        computed = self._compute(instance)
        value: Value_co = vars(instance).setdefault(self._name, computed)  # one step for all threads
        return value
