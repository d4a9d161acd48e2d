"""Networks, detectors, readers and methods by name: the project's own, and those of installed packages.

A package registers a thing by a standard entry point of the group `jaxqc.networks`, `jaxqc.detectors`, `jaxqc.readers`
or `jaxqc.methods`, in its pyproject.toml:

    [project.entry-points."jaxqc.networks"]
    wide = "acme.nets:WIDE"

A run folder stores `acme.nets:WIDE`. Opening one imports that only where an installed package registers exactly that:
a folder from a stranger cannot name code to run.
"""

import sys
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any, Literal

from jaxqc.errors import UserError, suggest

Kind = Literal["networks", "detectors", "readers", "methods"]
RECIPE = "jaxqc_config_"
"""Beginning of the name of a module that a recipe's file is run as."""


def names(kind: Kind, own: Mapping[str, Any]) -> tuple[str, ...]:
    """All names that `resolve` knows: the project's own in their order, then those of installed packages, sorted."""
    return (*own, *sorted({entry.name for entry in _entries(kind)} - set(own)))


def resolve(kind: Kind, name: str, own: Mapping[str, Any], *, field: str = "", want: type = object) -> Any:
    """The thing of that name.

    Args:
      name: a key of `own`, which comes first; the name of an installed entry point of the group `jaxqc.KIND`; or
        `package.module:object`, the value of one.
      field: what the name was given as, for messages, such as `model.name`.
      want: the class that the thing must be of.

    Raises:
      UserError: no such name (with the nearest one), its package is missing, does not register it or cannot be
        imported, two packages register the name, or the thing is not a `want`.
    """
    if name in own:
        return own[name]
    entries = _entries(kind)
    found = {_value(e): e for e in entries if e.name == name} or {_value(e): e for e in entries if _value(e) == name}
    start = f"{field}: " if field else ""
    if not found:
        raise UserError(start + _absent(kind, name, names(kind, own)))
    if len(found) > 1:
        raise UserError(f"{start}{kind[:-1]} {name!r} is registered twice; give one of {', '.join(sorted(found))}")
    value, entry = found.popitem()
    package = entry.dist.name if entry.dist else value.partition(".")[0]
    try:
        thing = entry.load()
    except Exception as e:  # the package's own code runs here
        said = " ".join(f"{type(e).__name__}: {e}".split())
        raise UserError(f"{start}{kind[:-1]} {value} of the package {package} cannot be imported: {said}") from e
    if not isinstance(thing, want):
        kind_of = f"the class {thing.__name__}" if isinstance(thing, type) else f"a {type(thing).__name__}"
        raise UserError(f"{start}{kind[:-1]} {value} of the package {package} is {kind_of}, not a {want.__name__}")
    return thing


def origin(kind: Kind, thing: Any, own: Mapping[str, Any]) -> str:
    """The name to store for a thing, or for the name by which it was asked: `resolve` finds it again by that.

    A key of `own` stays itself; anything else is `package.module:object`, of an entry point where one registers it. A
    name that nobody registers comes back as it is.

    Raises:
      UserError: the thing is not a variable of any module, so that no later process can find it.
    """
    if isinstance(thing, str):
        entry = None if thing in own else next((e for e in _entries(kind) if e.name == thing), None)
        return thing if entry is None else _value(entry)
    for name, known in own.items():
        if known is thing:
            return name
    homes = [
        f"{place}:{name}"
        for place, module in list(sys.modules.items())
        for name, value in list(getattr(module, "__dict__", {}).items())
        if value is thing and place != "__main__"
    ]
    if not homes:
        raise UserError(
            f"{kind[:-1]}: a {type(thing).__name__} of no module; assign it to a variable of one (NAME = ...),"
            " by which a run folder can name it"
        )
    registered = {_value(e) for e in _entries(kind)}
    made_in = getattr(thing, "__module__", "")
    return min(homes, key=lambda home: (home not in registered, home.partition(":")[0] != made_in, len(home), home))


def _entries(kind: Kind) -> list[EntryPoint]:
    try:
        return list(entry_points(group=f"jaxqc.{kind}"))
    except Exception as e:  # of any installed package
        raise UserError(f"the entry points of an installed package cannot be read ({type(e).__name__}: {e})") from e


def _value(entry: EntryPoint) -> str:
    """`package.module:object`, without the extras that an entry point may ask for."""
    return entry.value.partition("[")[0].replace(" ", "")


def _absent(kind: Kind, name: str, known: tuple[str, ...]) -> str:
    """The message for a name that nobody registers."""
    module, colon, _ = name.partition(":")
    if not colon:
        return f"no {kind[:-1]} {name!r}{suggest(name, known)}"
    package = module.partition(".")[0]
    if package.startswith(RECIPE):
        file = package.removeprefix(RECIPE)
        return (
            f"{kind[:-1]} {name}: made in the recipe {file}.py; move it into a package that registers it (jaxqc.{kind})"
        )
    way = f'the entry point NAME = "{name}" of the group jaxqc.{kind}'
    if package in sys.modules or (package.isidentifier() and find_spec(package) is not None):
        return f"{kind[:-1]} {name}: the package {package!r} does not register it; add {way} and install it again"
    return f"{kind[:-1]} {name}: the package {package!r} is not installed; install the one that has {way}"
