"""Structure measure (Fan et al., "Structure-measure: A New Way to Evaluate Foreground Maps", ICCV 2017)."""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from jaxqc.metrics.threshold import image_mean, image_sum

ALPHA = 0.5
EPS = 2.0**-52


def s_measure(pred: Float[Array, "b h w"], truth: Bool[Array, "b h w"]) -> Float[Array, " b"]:
    """S = max(0, 0.5 * object part + 0.5 * region part); without defect 1 − mean(pred), with nothing else mean(pred).

    Examples:
      >>> truth = jnp.zeros((1, 8, 8), bool).at[0, 2:5, 2:5].set(True)
      >>> s_measure(truth.astype(jnp.float32), truth).round(3).tolist()
      [1.0]
    """
    mean = image_mean(pred)
    score = jnp.maximum(ALPHA * object_part(pred, truth) + (1 - ALPHA) * region_part(pred, truth), 0)
    score = jnp.where(truth.all(axis=(1, 2)), mean, score)
    return jnp.where(truth.any(axis=(1, 2)), score, 1 - mean)


def object_part(pred: Float[Array, "b h w"], truth: Bool[Array, "b h w"]) -> Float[Array, " b"]:
    """Evenness and contrast of the map over the defect and over the rest, weighted by their areas.

    For values x of one side (pred on the defect, 1 − pred off it) the score is 2 m / (m² + 1 + s), with m their mean
    and s their standard deviation (n − 1; 0 for a single pixel).

    Examples:
      >>> truth = jnp.zeros((1, 8, 8), bool).at[0, 2:5, 2:5].set(True)
      >>> object_part(truth.astype(jnp.float32), truth).round(3).tolist()
      [1.0]
    """

    def score(x: Array, side: Array) -> Array:
        n = side.sum(axis=(1, 2)).astype(jnp.float32)
        mean = image_sum(jnp.where(side, x, 0)) / jnp.maximum(n, 1)
        spread = image_sum(jnp.where(side, (x - mean[:, None, None]) ** 2, 0))
        deviation = jnp.sqrt(spread / jnp.maximum(n - 1, 1))
        return 2 * mean / (mean**2 + 1 + deviation)

    share = truth.mean(axis=(1, 2), dtype=jnp.float32)
    return share * score(pred, truth) + (1 - share) * score(1 - pred, ~truth)


def region_part(pred: Float[Array, "b h w"], truth: Bool[Array, "b h w"]) -> Float[Array, " b"]:
    """Structural similarity in the four quadrants around the defect's centroid, weighted by their areas.

    A quadrant scores 4 x y c_xy / ((x² + y²)(c_xx + c_yy)), with means x, y and (co)variances c over n − 1. Where the
    truth is all defect or all background, the numerator vanishes: then 1 if the map is constant there, else 0.
    A quadrant of no pixels (centroid in the last row or column) has no weight.

    Examples:
      >>> truth = jnp.zeros((1, 8, 8), bool).at[0, 2:5, 2:5].set(True)
      >>> region_part(truth.astype(jnp.float32), truth).round(3).tolist()
      [1.0]
    """
    b, h, w = pred.shape
    cy, cx = (c[:, None, None] + 1 for c in centroid(truth))
    top = lax.broadcasted_iota(jnp.int32, pred.shape, 1) < cy
    left = lax.broadcasted_iota(jnp.int32, pred.shape, 2) < cx
    rows = jnp.stack([top[:, :, 0], ~top[:, :, 0]], axis=-1).astype(jnp.float32)
    columns = jnp.stack([left[:, 0], ~left[:, 0]], axis=-1).astype(jnp.float32)

    def gather(values: Array) -> Array:
        """Sums over the quadrants [b 2 2]: rows by columns."""
        by_column = jnp.einsum("bhw,bwc->bhc", values.astype(jnp.float32), columns, precision="highest")
        return jnp.einsum("bhc,bhr->brc", by_column, rows, precision="highest")

    def spread(quadrants: Array) -> Array:
        """One value a quadrant [b 2 2] → that value at each of its pixels."""
        q = quadrants[:, :, :, None, None]
        return jnp.where(top, jnp.where(left, q[:, 0, 0], q[:, 0, 1]), jnp.where(left, q[:, 1, 0], q[:, 1, 1]))

    defect, other = gather(truth), gather(~truth)
    n = defect + other
    on, off = gather(jnp.where(truth, pred, 0)), gather(jnp.where(truth, 0, pred))
    size, degrees = jnp.maximum(n, 1), jnp.maximum(n - 1, 1)
    x, y = (on + off) / size, defect / size
    # Both from the means of either side: unlike a difference of sums, exact to float32 for the thinnest defect too.
    c_yy = defect * other / size / degrees
    c_xy = c_yy * (on / jnp.maximum(defect, 1) - off / jnp.maximum(other, 1))
    c_xx = gather((pred - spread(x)) ** 2) / degrees
    similar = 4 * x * y * c_xy / ((x**2 + y**2) * (c_xx + c_yy) + EPS)
    # An image's corner lies in its quadrant, whatever the centroid: a quadrant is constant if it equals its corner.
    corners = pred[:, (0, 0, -1, -1), (0, -1, 0, -1)].reshape(b, 2, 2)
    constant = gather(pred != spread(corners)) == 0
    score = jnp.where((defect > 0) & (other > 0), similar, constant)
    return (score * n).sum(axis=(1, 2)) / (h * w)


def centroid(truth: Bool[Array, "b h w"]) -> tuple[Int[Array, " b"], Int[Array, " b"]]:
    """Row and column of the defect's centre of mass, rounded half to even; 0, 0 if there is no defect.

    Examples:
      >>> row, column = centroid(jnp.zeros((1, 8, 8), bool).at[0, 2:5, 1].set(True))
      >>> row.tolist(), column.tolist()
      ([3], [1])
    """
    h, w = truth.shape[1:]
    count = jnp.maximum(truth.sum(axis=(1, 2)), 1)

    def mean_position(profile: Array) -> Array:
        position = jnp.arange(profile.shape[1])
        if h * w * max(h, w) >= 2**31:  # integer sums would overflow: float32, off by one only next to a tie
            return jnp.round((profile / count[:, None] * position).sum(axis=1)).astype(jnp.int32)
        # In whole numbers, because a centroid halfway between pixels is common and must not depend on rounding.
        whole, rest = jnp.divmod((profile * position).sum(axis=1), count)
        up = (2 * rest > count) | ((2 * rest == count) & (whole % 2 == 1))
        return whole + up

    return mean_position(truth.sum(axis=2)), mean_position(truth.sum(axis=1))
