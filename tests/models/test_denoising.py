"""DeSTSeg's networks and RD++'s projections: parameters as published, sides, folding, batches."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.models.denoising import Denoising, Segmentation, products
from jaxqc.models.projector import Projector
from jaxqc.models.resnet import BACKBONES, Spec
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from tests.support.drawn import drawn


def count(network, *shape: int) -> int:
    params = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros(shape))["params"]
    return sum(x.size for x in jax.tree.leaves(params))


def test_parameters_are_as_many_as_the_authors_have():
    """The student's count has no classifier; of the head 448 channels come in."""
    assert count(Denoising(BACKBONES["resnet18"]), 1, 64, 64, 3) == 24_665_024
    assert count(Segmentation(), 1, 16, 16, 448) == 7_706_369
    assert [count(Projector(), 1, 4, 4, c) for c in (256, 512, 1024)] == [737_856, 2_950_272, 11_798_784]


@pytest.mark.slow
def test_folded_they_give_the_same_and_an_image_alone_as_in_a_batch(rng):
    spec, image = Spec((1, 1, 1, 1), False, base=8), rng.normal(size=(3, 40, 40, 3)).astype(np.float32)
    network = Denoising(spec, (1, 3))
    variables = drawn(network, image)
    out = jax.jit(network.apply)(variables, image)
    assert {name: x.shape[1:] for name, x in out.items()} == {"layer3": (3, 3, 32), "layer1": (10, 10, 8)}
    folded = Denoising(spec, (1, 3), Norm(folded=True))
    again = jax.jit(folded.apply)(fold_batch_norm(variables), image[1:2])
    for name in out:
        np.testing.assert_allclose(again[name][0], out[name][1], rtol=1e-4, atol=1e-4)
    seen = products((out["layer1"], out["layer3"]), (out["layer1"], out["layer3"]))
    head = Segmentation(16)
    variables = drawn(head, seen)
    logits = jax.jit(head.apply)(variables, seen)
    alone = jax.jit(Segmentation(16, Norm(folded=True)).apply)(fold_batch_norm(variables), seen[1:2])
    np.testing.assert_allclose(alone[0], logits[1], rtol=1e-4, atol=1e-4)
