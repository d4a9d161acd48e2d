"""The fields of every configuration: walked, checked, and turned into plain values and back."""

import ast
import dataclasses
import inspect
import itertools
import json
import math
import textwrap
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, TypeVar

from jaxqc import plugins
from jaxqc.errors import UserError, suggest
from jaxqc.hints import is_config, is_one_of, item_of, several

Config = TypeVar("Config")
CHOICE = "choice"
"""Key of a field's `Choice` in its metadata."""


@dataclasses.dataclass(frozen=True)
class Choice:
    """A field whose class is chosen by its value: any of `own`, or of those that packages register (`kind`).

    flag: the command-line flag that takes such a name and gives the field that class's defaults.
    """

    kind: plugins.Kind
    own: Mapping[str, type]
    flag: str

    def name_of(self, value: Any) -> str:
        """The name by which the value's class is stored. Raises UserError where no later process could find it."""
        return plugins.origin(self.kind, type(value), self.own)

    def class_of(self, name: str, field: str) -> type:
        """The class of a name, given as `field`. Raises UserError where there is none."""
        return plugins.resolve(self.kind, name, self.own, field=field, want=type)


def chosen(kind: plugins.Kind, own: Mapping[str, type], flag: str) -> dict[str, Choice]:
    """The metadata of a dataclass field that is a `Choice`."""
    return {CHOICE: Choice(kind, own, flag)}


def choices(kind: type) -> dict[str, Choice]:
    """The fields of a configuration whose class is chosen by their value."""
    return {f.name: f.metadata[CHOICE] for f in dataclasses.fields(kind) if CHOICE in f.metadata}


def hints_of(kind: type) -> dict[str, Any]:
    """The types of a configuration's fields."""
    hints = typing.get_type_hints(kind)
    return {f.name: hints[f.name] for f in dataclasses.fields(kind)}


def sections(kind: type) -> dict[str, Any]:
    """The fields of a configuration that are configurations themselves."""
    return {name: hint for name, hint in hints_of(kind).items() if is_config(hint)}


def classes(kind: type) -> dict[str, type]:
    """Every configuration class that a recipe of this kind may hold, by its own name; of registered ones, none."""
    found: dict[str, type] = {kind.__name__: kind}
    inner = [*sections(kind).values(), *filter(is_config, map(item_of, hints_of(kind).values()))]
    for part in (*inner, *(own for choice in choices(kind).values() for own in choice.own.values())):
        found |= classes(part)
    return found


@cache
def docs(kind: type) -> dict[str, str]:
    """The text that stands below each field of a configuration, on one line; a subclass has its bases' too.

    Examples:
      >>> from jaxqc.config import Phase
      >>> docs(Phase)["size"]
      'Side of the training images in pixels.'
    """
    found: dict[str, str] = {}
    for one in reversed(kind.__mro__):
        body = _body(one) if dataclasses.is_dataclass(one) else []
        for line, below in itertools.pairwise(body):
            if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and isinstance(below, ast.Expr):
                text = below.value.value if isinstance(below.value, ast.Constant) else ""
                found[line.target.id] = " ".join(str(text).split())
    return found


def _body(kind: type) -> list[ast.stmt]:
    """The statements of a class; none where its source is not at hand."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError, SyntaxError):
        return []
    return tree.body if isinstance(tree, ast.ClassDef) else []


def doc_of(config: Any, name: str) -> str:
    """The text below the field of this dotted name; "" where there is none."""
    *parents, last = name.split(".")
    for step in parents:
        config = config[int(step)] if step.isdigit() else getattr(config, step)
    return docs(type(config)).get(last, "")


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every plain field as (dotted name, type, value); a tuple of configurations is numbered: `phases.0.epochs`.

    A field of type `Any` takes a value's class: it has the fields of a configuration that is its value, and None none.
    """
    choice = choices(type(config))
    for name, kind in hints_of(type(config)).items():
        value, item = getattr(config, name), item_of(kind)
        whole = is_config(item)
        if name in choice and not is_config(type(value)):
            near = ", ".join(c.__name__ for c in choice[name].own.values())
            raise UserError(f"{prefix}{name}={value!r} is not a value of a dataclass such as {near}")
        if kind is Any and (value is None or is_config(type(value))):
            yield from () if value is None else leaves(value, f"{prefix}{name}.")
        elif is_config(kind):
            if not isinstance(value, typing.cast(type, kind)):
                raise UserError(f"{prefix}{name}={value!r} is not a {kind.__name__}")
            yield from leaves(value, f"{prefix}{name}.")
        elif whole:
            example = ", ".join(f"{f}=..." for f in hints_of(item))
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
        if several(kind):
            if not is_one_of(value, kind):
                raise UserError(f"{where}: {name}={value!r} is neither one number nor two, as 640,256")
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
    """The config as plain JSON values, as stored in a checkpoint.

    A field whose class is chosen by its value is `{"name": its class, ...}`.

    Raises:
      UserError: such a class cannot be found by a name again.
    """
    return json.loads(json.dumps(_plain(config)))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, type) or not dataclasses.is_dataclass(value):
        return value
    found = {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    for name, choice in choices(type(value)).items():
        found[name] = {"name": choice.name_of(getattr(value, name)), **found[name]}
    return found


def from_dict(values: Mapping[str, Any], kind: type[Config], where: str = "config") -> Config:
    """Inverse of `to_dict`. Unknown keys and wrong values raise `UserError` with a suggestion.

    `kind.renamed`, where there is one, maps fields as earlier versions stored them to today's.
    """
    hints, nested, choice = hints_of(kind), sections(kind), choices(kind)
    renamed: Mapping[str, str] = getattr(kind, "renamed", {})
    values = {renamed.get(key, key): value for key, value in values.items()}
    for key in values:
        if key not in hints:
            raise UserError(f"{where}: unknown key {key!r}{suggest(key, hints)}")
    out: dict[str, Any] = {}
    for key, value in values.items():
        item = item_of(hints[key])
        if key in choice:
            if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
                raise UserError(f"{where}.{key}: {value!r} names no {choice[key].kind[:-1]}")
            found = choice[key].class_of(value["name"], f"{where}.{key}")
            value = from_dict({k: v for k, v in value.items() if k != "name"}, found, f"{where}.{key}")
        elif key in nested:
            value = from_dict(value, nested[key], f"{where}.{key}")
        elif several(hints[key]) and isinstance(value, list):
            value = tuple(value)
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
