"""A guide judged before training: its labels of the labelled images beside the true ones."""

from collections.abc import Callable
from dataclasses import replace

import jax
import numpy as np

from jaxqc.data.augment.geometry import to_float
from jaxqc.semi import inference, language
from jaxqc.semi.feed import Reader
from jaxqc.semi.method import SemiMethod

MOST = 200
"""Most labelled images that it is judged by."""


def judged(method: SemiMethod, labelled: Reader, say: Callable[[str], None]) -> SemiMethod:
    """The method without its guide where fewer than half of the guide's certain pixels on labelled images are right.

    say: takes the line that tells what was found.
    """
    guide, start = method.guide, method.start
    if guide is None:
        return method
    params = jax.jit(start)(jax.random.key(0))
    text = params["head"]["text"]

    @jax.jit
    def of(image: jax.Array) -> jax.Array:
        seen = inference.fitted(method.normalize(to_float(image)), method.multiple, method.size)
        return guide.logits(guide.params, text, seen)

    labels, weights, truths = [], [], []
    for number in range(min(MOST, len(labelled.pairs))):
        image, truth = labelled.read(number)
        image = np.repeat(image, 3 // image.shape[-1], -1)[None]
        label, weight = language.certain(of(image)[0], guide.confidence)
        # Of each place of the network's input the true label of the nearest pixel.
        rows, columns = (np.arange(n) * old // n for n, old in zip(label.shape, truth.shape, strict=True))
        labels.append(np.asarray(label))
        weights.append(np.asarray(weight))
        truths.append(truth[rows][:, columns])
    share, count = language.precision(labels, weights, truths)
    kept = share >= language.SURE
    what = "it labels the weak views, too" if kept else "it is switched off"
    say(f"guide: {share:.1%} of its {count:,} certain pixels on the labelled images are right; {what}")
    return method if kept else replace(method, guide=None)
