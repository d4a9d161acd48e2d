"""Mapped functions compiled with the XLA options that measured best for training on their backend."""

import os
from collections.abc import Callable
from typing import Any

import jax

# LLVM's higher levels unroll short channel loops before they vectorise them: level 1 compiles TSCARNet's step in 16 %
# less time and runs it 8 to 12 % faster (measured in turns on two cores; docs/throughput).
OPTIONS: dict[str, dict[str, Any]] = {"cpu": {"xla_backend_optimization_level": 1}}


class Compiled:
    """Calls `fn` (made by `jax.jit` or `jax.pmap`) compiled with `options`, once for each set of argument shapes."""

    def __init__(self, fn: Callable[..., Any], options: dict[str, Any]) -> None:
        self._fn: Any = fn
        self._options = options
        self._programs: dict[Any, Any] = {}

    def compile(self, *args: Any) -> Callable[..., Any]:
        """The program for arguments like these, made now unless it is there."""
        leaves, structure = jax.tree.flatten(args)
        key = structure, tuple((x.shape, x.dtype) for x in leaves)
        if key not in self._programs:
            self._programs[key] = self.lower(*args)()
        return self._programs[key]

    def lower(self, *args: Any) -> Callable[[], Any]:
        """Traces and lowers for arguments like these; calling the result compiles with the options."""
        lowered = self._fn.lower(*args)
        return lambda: lowered.compile(compiler_options=self._options)

    def __call__(self, *args: Any) -> Any:
        return self.compile(*args)(*args)


def compiled_for(platform: str, fn: Callable[..., Any]) -> Callable[..., Any]:
    """`fn` with the options of a platform (`jax.Device.platform`), but for those that XLA_FLAGS sets; `fn` itself where
    none are left."""
    chosen = os.environ.get("XLA_FLAGS", "")
    options = {name: value for name, value in OPTIONS.get(platform, {}).items() if name not in chosen}
    return Compiled(fn, options) if options else fn
