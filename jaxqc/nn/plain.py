"""The plain form of a network: how it is traced for other runtimes, which know whole operations and fuse them.

Our layers are written for XLA: a resizing as slices and stacks, a pooling as shifts, a 1x1 convolution as a product.
Within `form(True)` they are the operations that every runtime has. Choices by platform (`lax.platform_dependent`) need
no word here: their default branch is plain already, and the export keeps that one (`jaxqc.export.inline`).
"""

from collections.abc import Callable
from typing import Any

import jax

form = jax.make_user_context(default_value=False)
"""`with form(True)`: what is traced within is plain. JAX's caches tell both forms apart."""
OPERATIONS = "jaxqc_"
"""Start of the names of calls that are one operation to an exporter."""


def is_plain() -> bool:
    """True while a plain form is traced.

    Examples:
      >>> with form(True):
      ...     is_plain()
      True
      >>> is_plain()
      False
    """
    return bool(form.value)


def operation(name: str, function: Callable[..., Any], *arrays: Any) -> Any:
    """`function` of arrays; in the plain form as a call named `jaxqc_NAME`, which an exporter takes for one operation.

    Examples:
      >>> with form(True):
      ...     jaxpr = jax.make_jaxpr(lambda x: operation("double", lambda x: 2 * x, x))(1.0)
      >>> jaxpr.eqns[0].params["name"]
      'jaxqc_double'
    """
    if not is_plain():
        return function(*arrays)

    def call(*arrays: Any) -> Any:
        return function(*arrays)

    call.__name__ = call.__qualname__ = OPERATIONS + name
    return jax.jit(call)(*arrays)
