"""The encoder in a file of many arrays: the prefix of names under which most of what a network needs stands."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from jaxqc.errors import UserError

Shape = tuple[int, ...] | None
"""An array's shape; None = any."""


@dataclass(frozen=True)
class Found:
    """An encoder's place in a file. style: number of the names that it has there. fits: its arrays that fit.

    others: prefixes of further encoders that fit at least half as well, with their number of arrays.
    """

    prefix: str = ""
    style: int = 0
    fits: int = 0
    others: tuple[tuple[str, int], ...] = ()

    def split(self, arrays: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
        """The arrays below the prefix by their name without it, and the names of all others.

        Examples:
          >>> Found("backbone.").split({"backbone.conv1.weight": np.ones(1), "head.weight": np.ones(1)})
          ({'conv1.weight': array([1.])}, ('head.weight',))
        """
        own = {n.removeprefix(self.prefix): a for n, a in arrays.items() if n.startswith(self.prefix)}
        return own, tuple(n for n in arrays if not n.startswith(self.prefix))


def find_encoder(
    arrays: Mapping[str, np.ndarray], styles: Sequence[Mapping[str, Shape]], model: str, asked: str | None = None
) -> Found:
    """The prefix, and the style of names, by which most of what is needed stands in a file with its shape.

    Args:
      styles: names and shapes of the model's arrays, once for each way to call them. asked: the prefix to take;
        None = the best one.

    Raises:
      UserError: two prefixes fit alike and their arrays differ, or none of the model's is under the one asked for.

    Examples:
      >>> file = {"body.conv1.weight": np.ones((2, 3)), "body.bn1.bias": np.ones(2), "head.conv1.weight": np.ones(2)}
      >>> find_encoder(file, [{"conv1.weight": (2, 3), "bn1.bias": (2,)}], "resnet18").prefix
      'body.'
    """
    count: Counter[tuple[str, int]] = Counter()
    names: Counter[tuple[str, int]] = Counter()
    for name, array in arrays.items():
        steps = name.split(".")
        for i in range(len(steps)):
            prefix, rest = "".join(f"{step}." for step in steps[:i]), ".".join(steps[i:])
            for style, needed in enumerate(styles):
                if rest in needed:
                    names[prefix, style] += 1
                    count[prefix, style] += needed[rest] is None or np.shape(array) == needed[rest]
    # A file of another model is still read by its names, so that the message says what differs.
    count = count if any(count.values()) else names
    if asked is not None:
        wanted = f"{asked}." if asked and not asked.endswith(".") else asked
        fitting = [key for key in names if key[0] == wanted]
        if not fitting:
            known = ", ".join(repr(prefix) for (prefix, _), _ in count.most_common(4)) or "none"
            raise UserError(f"--prefix {asked!r}: no array of {model} stands below it; prefixes that fit: {known}")
        best = max(fitting, key=lambda key: (count[key], -key[1]))
    elif not count:
        return Found()
    else:
        best = max(count, key=lambda key: (count[key], -len(key[0]), -key[1]))
    rivals = {key: n for key, n in count.items() if key[0] != best[0] and 2 * n >= count[best] > 1}
    alike = sorted(prefix for (prefix, _), n in rivals.items() if n == count[best])
    if asked is None and alike and not all(_same(arrays, styles[best[1]], best[0], prefix) for prefix in alike):
        listed = ", ".join(repr(prefix) for prefix in [best[0], *alike])
        raise UserError(
            f"{model}: {1 + len(alike)} encoders in the file fit alike ({count[best]} arrays each), below {listed};"
            " choose one: jaxqc convert FILE OUT --prefix PREFIX"
        )
    others = tuple(sorted((prefix, n) for (prefix, _), n in rivals.items()))
    return Found(best[0], best[1], count[best], others)


def _same(arrays: Mapping[str, np.ndarray], names: Mapping[str, Shape], a: str, b: str) -> bool:
    """True where two prefixes hold the same values: either will do."""
    pairs = [(arrays.get(a + name), arrays.get(b + name)) for name in names]
    return all(x is y if x is None or y is None else np.array_equal(x, y) for x, y in pairs)
