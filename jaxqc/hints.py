"""The types of a configuration's fields, as far as their values are judged by them."""

import dataclasses
import types
import typing
from typing import Any


def is_config(hint: Any) -> bool:
    """True where a field's type is itself a configuration."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def item_of(hint: Any) -> Any:
    """T of a field of type `tuple[T, ...]`; None for any other."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None


def several(hint: Any) -> tuple[Any, ...]:
    """The types of a field that may be a number or a fixed tuple of numbers, as `int | tuple[int, int]`; else ()."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else ()


def is_one_of(value: Any, hint: Any) -> bool:
    """True where a value is a number of one of `several` types, or a tuple of one of them."""
    for kind in several(hint):
        parts = typing.get_args(kind)
        whole = isinstance(value, tuple) and len(value) == len(parts)
        if (parts and whole and all(type(v) is p for v, p in zip(value, parts, strict=True))) or type(value) is kind:
            return True
    return False
