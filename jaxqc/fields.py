"""The fields of every configuration: walked, checked, and turned into plain values and back."""

import dataclasses
import json
import math
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeVar

from jaxqc.errors import UserError, suggest

Config = TypeVar("Config")


def is_config(hint: Any) -> bool:
    """True where a field's type is itself a configuration."""
    return isinstance(hint, type) and dataclasses.is_dataclass(hint)


def sections(kind: type) -> dict[str, Any]:
    """The fields of a configuration that are configurations themselves."""
    return {name: hint for name, hint in typing.get_type_hints(kind).items() if is_config(hint)}


def item_of(hint: Any) -> Any:
    """T of a field of type `tuple[T, ...]`; None for any other."""
    return typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else None


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every plain field as (dotted name, type, value); a tuple of configurations is numbered: `phases.0.epochs`.

    A field of type `Any` takes a value's class: it has the fields of a configuration that is its value, and None none.
    """
    for name, kind in typing.get_type_hints(type(config)).items():
        value, item = getattr(config, name), item_of(kind)
        whole = is_config(item)
        if kind is Any and (value is None or is_config(type(value))):
            yield from () if value is None else leaves(value, f"{prefix}{name}.")
        elif is_config(kind):
            if not isinstance(value, kind):
                raise UserError(f"{prefix}{name}={value!r} is not a {kind.__name__}")
            yield from leaves(value, f"{prefix}{name}.")
        elif whole:
            example = ", ".join(f"{f}=..." for f in typing.get_type_hints(item))
            if not isinstance(value, tuple):
                raise UserError(f"{prefix}{name}={value!r} is not a tuple of {item.__name__}({example})")
            for i, part in enumerate(value):
                if not isinstance(part, item):
                    raise UserError(f"{prefix}{name}.{i}={part!r} is not a {item.__name__}")
                yield from leaves(part, f"{prefix}{name}.{i}.")
        else:
            yield f"{prefix}{name}", kind, value


def validate(config: Config, where: str = "config") -> Config:
    """Returns the config unchanged when every field's type, choice and range are right, and its own `check` is content.

    Raises:
      UserError: naming the dotted field, its value, and what it may be.
    """
    try:
        rows = list(leaves(config))
    except UserError as e:
        raise UserError(f"{where}: {e}") from e
    for name, kind, value in rows:
        if kind is Any:
            if type(value) in (bool, int, float, list, tuple):
                raise UserError(f"{where}: {name}={value!r} is neither a name nor a thing that has one")
            continue
        if typing.get_origin(kind) is Literal:
            choices = typing.get_args(kind)
            if value not in choices:
                raise UserError(f"{where}: {name}={value!r}{suggest(str(value), choices)}")
            continue
        if (item := item_of(kind)) is not None:
            if not isinstance(value, tuple) or not all(type(v) is item for v in value):
                raise UserError(f"{where}: {name}={value!r} is not a tuple of {item.__name__}")
            continue
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{where}: {name}={value!r} is not of type {kind.__name__}")
        if kind in (int, float) and not 0 <= value < math.inf:
            raise UserError(f"{where}: {name}={value!r} must be finite and not negative")
    check = getattr(config, "check", None)
    if check is not None:
        check(where)
    return config


def check_seed(seed: int, where: str, name: str = "seed") -> None:
    """Raises UserError where a seed has more than 32 bits."""
    if seed >= 2**32:
        raise UserError(f"{where}: {name}={seed} must be below 2**32")


def check_positive(values: Mapping[str, float], where: str) -> None:
    """Raises UserError for the first value that is not above 0."""
    for name, value in values.items():
        if value <= 0:
            raise UserError(f"{where}: {name}={value!r} must be above 0")


def check_unused(config: Config, where: str = "config") -> Config:
    """Returns the config unchanged when nothing is set in it that goes unused.

    Its attribute `unused`, where it has one, maps dotted fields or sections to what takes their place. A stored config
    is not checked so: it loads whatever an earlier version ignored.

    Raises:
      UserError: such a field differs from its default.
    """
    unused: Mapping[str, str] = getattr(config, "unused", {})
    if unused:
        defaults = {name: value for name, _, value in leaves(type(config)())}
        for name, _, value in leaves(config):
            instead = next((unused[key] for key in unused if f"{name}.".startswith(f"{key}.")), None)
            if instead is not None and value != defaults[name]:
                raise UserError(f"{where}: {name}={value!r} would go unused; {instead}")
    return config


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain JSON values, as stored in a checkpoint."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: Mapping[str, Any], kind: type[Config], where: str = "config") -> Config:
    """Inverse of `to_dict`. Unknown keys and wrong values raise `UserError` with a suggestion.

    `kind.renamed`, where there is one, maps fields as earlier versions stored them to today's.
    """
    hints, nested = typing.get_type_hints(kind), sections(kind)
    renamed: Mapping[str, str] = getattr(kind, "renamed", {})
    values = {renamed.get(key, key): value for key, value in values.items()}
    for key in values:
        if key not in hints:
            raise UserError(f"{where}: unknown key {key!r}{suggest(key, hints)}")
    out: dict[str, Any] = {}
    for key, value in values.items():
        item = item_of(hints[key])
        if key in nested:
            value = from_dict(value, nested[key], f"{where}.{key}")
        elif item is not None and isinstance(value, list | tuple):
            value = tuple(
                from_dict(v, item, f"{where}.{key}[{i}]") if is_config(item) else v for i, v in enumerate(value)
            )
        out[key] = value
    try:
        built = kind(**out)
    except TypeError as e:
        raise UserError(f"{where}: {e}") from e
    return validate(built, where) if hasattr(built, "check") else built


def as_now(values: Mapping[str, Any], kind: type[Config]) -> dict[str, Any]:
    """A config as some version of jaxqc stored it, in today's plain values: fields that came since have their defaults.

    What today's `kind` does not take, such as a field that is gone, comes back as it was stored.
    """
    try:
        return to_dict(from_dict(values, kind))
    except UserError:
        return dict(values)
