"""A detector's state as a fit's folder gives it back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxqc.errors import UserError


def restored(fields: dict[str, Any], name: str | None, states: Sequence[Any], folder: Path) -> Any:
    """The stored fields as the detector's named tuple of that name; fits of before have none: then by the fields.

    Raises:
      UserError: the detector has no such state.

    Examples:
      >>> from typing import NamedTuple
      >>> class Mean(NamedTuple):
      ...     layers: tuple
      >>> restored({"layers": {"0": 1.0, "1": 2.0}}, "Mean", (Mean,), Path("runs/fit"))
      Mean(layers=(1.0, 2.0))
    """
    found = [kind for kind in states if (kind.__name__ == name if name else set(kind._fields) == set(fields))]
    if len(found) != 1 or set(found[0]._fields) != set(fields):
        known = ", ".join(kind.__name__ for kind in states)
        raise UserError(f"{folder}: its state is a {name} of {', '.join(fields)}; this detector knows {known}")
    return found[0](**{k: _with_tuples(v) for k, v in fields.items()})


def _with_tuples(tree: Any) -> Any:
    """A restored tree, where a tuple had become a dict of its places."""
    if not isinstance(tree, dict):
        return tree
    values = {k: _with_tuples(v) for k, v in tree.items()}
    places = [str(i) for i in range(len(values))]
    return tuple(values[i] for i in places) if set(places) == set(values) else values
