"""A loaded model whose network another engine runs."""

from functools import partial
from typing import Any

from jaxqc.errors import UserError
from jaxqc.export.engines import XLA, checked
from jaxqc.export.engines.converted import opened
from jaxqc.kinds import kind_of


def with_engine(model: Any, name: str) -> Any:
    """The model by the engine of this name; by XLA as it was.

    Raises:
      UserError: no such engine, not installed, or none for this model; outputs that differ from XLA's.
    """
    kind, name = kind_of(model), checked(name)
    if kind.engine is None:
        if name == XLA:
            return model
        raise UserError(f"--engine {name}: a model of kind {kind.name} is run by xla alone; leave --engine out")
    return kind.engine(model, name, None if name == XLA else partial(opened, name))
