"""FLOPs of products and convolutions: counted by hand, and the published figures of networks."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxqc.jaxprs import product_flops
from jaxqc.models.dinov2 import build_vit
from jaxqc.models.resnet import LAYERS, build_backbone


def floats(*shape: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(shape, jnp.float32)


X, W = floats(3, 4), floats(4, 5)
RESIZE = np.ones((7, 3), np.float32)


@pytest.mark.parametrize(
    ("function", "shapes", "multiply_adds"),
    [
        (lambda x, w: x @ w, (X, W), 3 * 4 * 5),
        (lambda x, w: jnp.einsum("nij,njk->nik", x, w), (floats(2, 3, 4), floats(2, 4, 5)), 2 * 3 * 4 * 5),
        (lambda x, w: jax.jit(jnp.matmul)(x, w) @ jnp.ones((5, 9)), (X, W), 3 * 4 * 5),
        (lambda x: RESIZE @ x, (X,), 0),
        (lambda x: (RESIZE @ x) @ x.T, (X,), 7 * 4 * 3),
        (lambda x, w: lax.fori_loop(0, 6, lambda i, y: jnp.tanh(y @ w), x), (X, floats(4, 4)), 6 * 3 * 4 * 4),
        (lambda x, w: lax.cond(x.sum() > 0, lambda: (x @ w).sum(), lambda: x.sum()), (X, W), 3 * 4 * 5),
        (lambda x: lax.cond(x.sum() > 0, lambda: np.ones((4, 3), np.float32), lambda: np.zeros((4, 3), np.float32)) @ x,
         (X,), 4 * 3 * 4),
        (lambda x, w: lax.platform_dependent(x, w, cpu=lambda x, w: (x @ w) @ w.T @ w, default=jnp.matmul), (X, W),
         3 * 4 * 5),
        (lambda x, w: jax.checkpoint(jnp.matmul)(x, w), (X, W), 3 * 4 * 5),
        (lambda x, k: lax.conv_general_dilated(x, k, (2, 2), "SAME", feature_group_count=2),
         (floats(1, 4, 8, 8), floats(6, 2, 3, 3)), 6 * 4 * 4 * 2 * 9),
        (lambda x, k: lax.conv_transpose(x, k, (4, 4), "VALID"), (floats(1, 5, 5, 3), floats(4, 4, 3, 2)),
         5 * 5 * 3 * 2 * 16),
    ],
)  # fmt: skip
def test_counted_by_hand(function, shapes, multiply_adds) -> None:
    assert product_flops(function, *shapes) == 2 * multiply_adds


def network_flops(network, side: int) -> float:
    variables = jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, side, side, 3))))
    return product_flops(network.apply, variables, floats(1, side, side, 3))


def test_the_published_networks() -> None:
    """1.8 billion multiply-adds (He et al., arXiv 1512.03385, table 1), and 4.1 for the stride in a block's second
    convolution, as torchvision has it; to more digits by its documentation, less the last layer."""
    assert network_flops(build_backbone("resnet18", LAYERS), 224) == pytest.approx(2 * (1.814e9 - 512 * 1000), rel=5e-4)
    assert network_flops(build_backbone("resnet50", LAYERS), 224) == pytest.approx(
        2 * (4.089e9 - 2048 * 1000), rel=5e-4
    )


@pytest.mark.parametrize("kernel", ["xla", "cpu", "cudnn"])
def test_a_transformer_by_its_formula(kernel: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Per block and token 12 d² for the four products and 2 t d for attention, and the patches' product."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    dtype = "bfloat16" if kernel == "cudnn" else "float32"
    t, d, patches = 37**2 + 1, 768, 37**2
    expected = 2 * (patches * 14 * 14 * 3 * d + 12 * t * (12 * d * d + 2 * t * d))
    assert network_flops(build_vit("dinov2_vitb14", dtype, kernel), 518) == pytest.approx(expected, rel=1e-9)
