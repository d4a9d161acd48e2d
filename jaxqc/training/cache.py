"""JAX's persistent compilation cache, on by default, so that the second start of a recipe hardly compiles."""

import os
from pathlib import Path

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache


def enable_compilation_cache() -> Path | None:
    """Points JAX at `$XDG_CACHE_HOME/jaxqc/jax-cache` (by default under ~/.cache) and returns the folder.

    `JAXQC_CACHE=off` leaves it off, `JAXQC_CACHE=FOLDER` chooses another; a folder that the user gave to JAX itself
    (`JAX_COMPILATION_CACHE_DIR`) stays. An unwritable folder only costs the speed.
    """
    given = os.environ.get("JAXQC_CACHE", "")
    if given.lower() in ("off", "0", "no", "false"):
        return None
    chosen: str | None = getattr(jax.config, "jax_compilation_cache_dir", None)
    if chosen:
        return Path(chosen)
    try:
        home = os.environ.get("XDG_CACHE_HOME")
        folder = Path(given) if given else (Path(home) if home else Path.home() / ".cache") / "jaxqc" / "jax-cache"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # RuntimeError: a user without a home
        return None
    jax.config.update("jax_compilation_cache_dir", str(folder))
    reset_cache()  # JAX settles at its first compilation whether there is a cache; that may lie behind us
    return folder
