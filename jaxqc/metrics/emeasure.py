"""Enhanced-alignment measure (Fan et al., "Enhanced-alignment Measure for Binary Foreground Map Evaluation", 2018)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxqc.metrics.threshold import Counts

EPS = 2.0**-52


def e_measure(counts: Counts) -> Float[Array, "b t"]:
    """E-measure of every binarised map.

    Map and truth are centred on their means, a and g; a pixel's alignment is 2ag / (a² + g²) and its score
    (alignment + 1)² / 4. As both are binary there are four kinds of pixel only, so counts suffice (no map is built).
    Without defect the score is the share left unmarked, with nothing but defect the share marked.

    The paper divides the sum by the pixels n, the authors' code and the tools after it by n − 1, which lifts a perfect
    map to n / (n − 1). Here it is n − 1, as in published tables, and the score at most 1.

    Examples:
      >>> from jaxqc.metrics.threshold import fixed_counts
      >>> truth = jnp.array([[[True, False, False, False]]])
      >>> float(e_measure(fixed_counts(truth, truth))[0, 0])
      1.0
    """
    n = counts.pixels
    hits, marked, defect = (c.astype(jnp.float32) for c in (counts.hits, counts.marked, counts.defect))
    # The share of the *other* kind is what remains of a 1 or a 0 once the mean is taken off, up to its sign.
    pred_one, pred_zero = (n - marked) / n, -marked / n
    true_one, true_zero = (n - defect) / n, -defect / n

    def score(a: Array, g: Array) -> Array:
        alignment = 2 * a * g / (a * a + g * g + EPS)
        return (alignment + 1) ** 2 / 4

    aligned = (
        hits * score(pred_one, true_one)
        + (marked - hits) * score(pred_one, true_zero)
        + (defect - hits) * score(pred_zero, true_one)
        + (n - marked - defect + hits) * score(pred_zero, true_zero)
    )
    total = jnp.where(defect == 0, n - marked, jnp.where(defect == n, marked, aligned))
    return jnp.minimum(total / max(n - 1, 1), 1)
