"""Annotations checked at run time: shapes and dtypes by jaxtyping, everything else by beartype."""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from typing import Any, ForwardRef, get_args

import jaxtyping
import pytest
from jaxtyping import AbstractArray, TypeCheckError, install_import_hook

CHECKER = "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
"""As in PEP 484, an int is taken where a float is asked for."""


def check_annotations(package: str) -> None:
    """Checks every call of the package's functions and dataclasses from here on; to be called before its import.

    Functions inside others are checked where they take or give arrays.
    """
    jaxtyping.jaxtyped = _sparing(jaxtyping.jaxtyped)
    install_import_hook(package, CHECKER)


def needs_jaxtyping(hint: Any) -> bool:
    """True for a hint with arrays of a shape, or with a name that only jaxtyping leaves alone where it is not there.

    Examples:
      >>> needs_jaxtyping(list[jaxtyping.Float[jaxtyping.Array, "n"]]), needs_jaxtyping(dict[str, int])
      (True, False)
    """
    if isinstance(hint, list | tuple):
        return any(map(needs_jaxtyping, hint))
    if isinstance(hint, str | ForwardRef) or (inspect.isclass(hint) and issubclass(hint, AbstractArray)):
        return True
    return any(map(needs_jaxtyping, get_args(hint)))


def _sparing(jaxtyped: Callable[..., Any]) -> Callable[..., Any]:
    """jaxtyping's decorator where there are shapes, and beartype alone elsewhere: its call takes a 17th of the time."""

    def checked(thing: Any = None, *, typechecker: Callable[..., Any]) -> Any:
        if thing is None:
            return functools.partial(checked, typechecker=typechecker)
        if inspect.isclass(thing):
            start = vars(thing).get("__init__") if dataclasses.is_dataclass(thing) else None
            if start is None or needs_jaxtyping([*start.__annotations__.values()]):
                return jaxtyped(thing, typechecker=typechecker)
            thing.__init__ = typechecker(start)
            return thing
        if not inspect.isfunction(thing) or needs_jaxtyping([*thing.__annotations__.values()]):
            return jaxtyped(thing, typechecker=typechecker)
        return thing if "<locals>" in thing.__qualname__ else typechecker(thing)

    return checked


def misfit(match: str) -> Any:
    """Expects ValueError of arrays that do not fit; where annotations are checked, their check comes first."""
    if os.environ.get("JAXQC_SHAPES"):
        return pytest.raises(TypeCheckError, match="parameters of jaxqc")
    return pytest.raises(ValueError, match=match)
