"""A fit from a data set's path and a recipe's, or from good images alone, for which a recipe is chosen first."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxqc.anomaly.choose import choose, data_settings, is_free
from jaxqc.anomaly.fit import Fitted, fit
from jaxqc.anomaly.recipe import FitConfig, load_recipe
from jaxqc.data.dataset import Dataset, with_rendering
from jaxqc.data.depth import remarks
from jaxqc.data.open import keys_of, open_data
from jaxqc.data.readers import layout_name
from jaxqc.data.rendering import rendering_of


def fit_data(
    config: FitConfig | str | Path | None,
    data: str | Path | Dataset,
    out: str | Path | None,
    flags: Sequence[str],
    minutes: float,
    progress: bool,
    note: Callable[[str], None],
) -> Fitted:
    """The fit of `jaxqc.api.fit`, which says what its arguments are.

    Raises:
      UserError: whatever is wrong with recipe, weights, data or folder.
    """
    if config is not None and not isinstance(config, FitConfig):
        config = load_recipe(config)
    options = data_settings(flags) if config is None else config.data
    about: dict[str, Any] = {}
    if isinstance(data, str | Path):
        about["sources"] = [str(Path(data).resolve())]  # where a refit finds them
        data = open_data(data, options.layout, options.skip_bad, keys_of(options), masks=False)
    data = with_rendering(data, rendering_of(options))
    for line in remarks(data):
        note(line)
    if config is None:
        if out is not None:
            is_free(out, note)
        config, about["choice"] = choose(data, flags, minutes, progress, note)
    named = replace(config.data, layout=layout_name(options.layout))  # a folder names a reader
    return fit(replace(config, data=named), data, out, progress, note=note, about=about)
