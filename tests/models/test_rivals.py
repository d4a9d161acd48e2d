"""The rivals of TSCARNet: parameters by the layer tables, and layers whose definition is easily got wrong."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.lib.networks import random_variables
from jaxqc.models.pp_liteseg import Block, cells
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.saliency.networks import build

# Without what takes no part and without the biases that batch norm takes away: CorrNet 18,048 + 1,152, PP-LiteSeg 512,
# UCTransNet 4,864 fewer than published code counts.
COUNTS = {
    "corrnet": 4_086_166 - 18_048 - 1_152,
    "pp_liteseg_b": 12_363_200 - 512,
    "pp_liteseg_t": 8_138_880 - 512,
    "uctransnet": 66_430_657 - 4_864,
    "cklnet": 481_878,
    "gcranet": 1_841_367,
}
PARTS = {
    "corrnet": {
        "conv1": 38_976 - 128, "conv2": 221_952 - 256, "conv3": 1_476_864 - 768, "conv4": 672_512, "conv5": 806_400,
        "reduce": 142_848, "correlation": 88_705 - 18_048 - 129, "g": 129, "attend1": 2_057, "attend2": 8_201,
        "s3": 129, "s2": 65, "s1": 65,
    },
    "pp_liteseg_b": {
        "stem": 19_488, "stage3": 515_456, "stage4": 2_625_280, "stage5": 6_188_544, "context": 542_208 - 512,
        "fusion32": 1_327_712, "fusion16": 700_960, "fusion8": 276_896, "head8": 36_992, "out8": 128,
    },
    "pp_liteseg_t": {"stage4": 1_012_480, "fusion16": 664_032, "fusion8": 166_176},
    "uctransnet": {
        "inc": 1_920 - 64, "down4": 4_721_664 - 1_024, "embed1": 1_061_184, "embed4": 1_149_440, "mixer": 47_637_760,
        "norm": 1_920, "rebuild4": 263_680 - 512, "gate": 1_051_136 - 348_160, "out": 65,
    },
    "cklnet": {"encoder": 216_512, "class_": 82_720, "class": 82_720 + 387, "decoders": 3 * 60_753},
    "gcranet": {},
}  # fmt: skip
QUICK = ("corrnet", "pp_liteseg_b")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in COUNTS]
)
def test_parameters_are_those_of_the_table(name: str) -> None:
    network, keys = build(name, 3), {"params": jax.random.key(0), "dropout": jax.random.key(0)}
    image = jnp.zeros((1, 64, 64, 3))
    params: Any = jax.eval_shape(lambda: network.init(keys, image, aux=True))["params"]
    sizes = {top: sum(leaf.size for leaf in jax.tree.leaves(tree)) for top, tree in params.items()}
    assert sum(sizes.values()) == COUNTS[name]
    for part, count in PARTS[name].items():
        if part == "gate":
            count = sum(2 * (c * c + c) for c in (64, 128, 256, 512))
        assert sum(size for top, size in sizes.items() if top == part or top.startswith(part)) == count, part


@pytest.mark.parametrize("bins", [1, 2, 4])
def test_cells_are_those_of_adaptive_pooling(bins: int, rng: np.random.Generator) -> None:
    x = rng.normal(size=(1, 7, 6, 2)).astype(np.float32)
    edges = lambda side: [(i * side // bins, -(-(i + 1) * side // bins)) for i in range(bins)]
    expected = [[x[0, a:b, c:d].mean((0, 1)) for c, d in edges(6)] for a, b in edges(7)]
    np.testing.assert_allclose(cells(x, bins)[0], expected, atol=1e-6)


def test_a_halving_block_leaves_padding_out_of_its_mean() -> None:
    """With neutral convolutions a constant image stays constant at the rim, where counted padding would darken it."""
    block, image = Block(16, 2, Norm(folded=True)), np.ones((1, 6, 6, 3), np.float32)
    variables = random_variables(Block(16, 2, Norm()), side=6, train=False)
    variables["params"]["conv1"]["kernel"][:] = 0.5
    found = np.asarray(jax.jit(block.apply)(fold_batch_norm(variables, 0.0), image))
    assert found.shape == (1, 3, 3, 16)
    np.testing.assert_allclose(found[..., :8], 1.5, rtol=1e-6)
