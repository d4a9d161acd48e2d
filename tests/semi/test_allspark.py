"""AllSpark's block, memory and loss against plain numpy written from the paper; an image's answer is its own."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.config import ModelConfig, Phase
from jaxqc.errors import UserError
from jaxqc.models.channel_attention import ChannelAttention
from jaxqc.models.segmenter import build_segmenter
from jaxqc.semi import bank as banks
from jaxqc.semi import channels, objective
from jaxqc.semi.cost import passes
from jaxqc.semi.frozen import Frozen, after_step, init_frozen
from jaxqc.semi.manifest import Manifest
from jaxqc.semi.network import EncoderDecoder, halves_of
from jaxqc.semi.recipe import MemoryConfig, preset
from jaxqc.semi.setting import Setting
from jaxqc.semi.train import make_method
from tests.semi.test_objective import QUICK, entropy, softmax
from tests.support.few_labels import recipe

H, C, HEADS, K = 3, 4, 2, 3
P = H * H
erf = np.vectorize(math.erf)


def gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + erf(x / math.sqrt(2)))


def norm(x: np.ndarray, p: Any) -> np.ndarray:
    y = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
    return y * np.asarray(p["scale"], np.float64) + np.asarray(p["bias"], np.float64)


def linear(x: np.ndarray, p: Any) -> np.ndarray:
    y = x @ np.asarray(p["kernel"], np.float64)
    return y + np.asarray(p["bias"], np.float64) if "bias" in p else y


def embedded(p: Any, x: np.ndarray) -> np.ndarray:
    return norm(gelu(linear(x.reshape(len(x), P, C), p["embed"])), p["norm1"])


def finished(p: Any, e: np.ndarray, found: np.ndarray) -> np.ndarray:
    return gelu(linear(norm(e + found, p["norm2"]), p["out"])).reshape(len(e), H, H, C)


def mixture(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    scores = q.T @ k
    scores = (scores - scores.mean()) / np.sqrt(scores.var() + 1e-5)
    return (softmax(scores) @ v.T).T


def labelled_of(p: Any, x: np.ndarray, sides: list[np.ndarray]) -> np.ndarray:
    """Each labelled image over the keys and values of these maps [p c], side by side."""
    k, v = (np.concatenate([linear(s, p[name]) for s in sides], 1) for name in ("key1", "value1"))
    e = embedded(p, x)
    return finished(p, e, np.stack([linear(mixture(linear(one, p["query1"]), k, v), p["mix1"]) for one in e]))


def unlabelled_of(p: Any, x: np.ndarray) -> np.ndarray:
    e, found = embedded(p, x), []
    for one in e:
        q, k, v = (linear(one, p[name]) for name in ("query2", "key2", "value2"))
        heads = [mixture(*(y[:, h * C : (h + 1) * C] for y in (q, k, v))) for h in range(HEADS)]
        found.append(linear(np.concatenate(heads, 1), p["mix2"]))
    return finished(p, e, np.stack(found))


@pytest.fixture(scope="module")
def block() -> tuple[ChannelAttention, Any]:
    block = ChannelAttention(C, HEADS)
    params = jax.jit(block.init)(jax.random.key(0), jnp.ones((1, H, H, C)))["params"]
    draw = np.random.default_rng(1)
    return block, jax.tree.map(lambda x: np.asarray(x + draw.normal(size=x.shape) / 2, np.float32), params)


def test_the_block_has_its_parameters() -> None:
    block = ChannelAttention(512)
    params = jax.eval_shape(block.init, jax.random.key(0), jnp.ones((1, 2, 2, 512)))
    assert sum(x.size for x in jax.tree.leaves(params)) == 4_721_664


def test_attention_equals_a_rendering(block: Any, rng: np.random.Generator) -> None:
    module, p = block
    x, y = rng.normal(size=(2, H, H, C)), rng.normal(size=(3, H, H, C))
    values = rng.normal(size=(K, C, P))
    values[1] = 0  # a class without channels
    values[2, 2:] = 0  # one that is half full
    run = jax.jit(lambda count: module.apply({"params": p}, x, y, (jnp.asarray(values), count), None, method="relate"))
    for count in ([0, 0, 0], [C, 0, 2]):
        one, two, kept = run(jnp.array(count))
        sides = [values[k].T for k in (0, 2)] if any(count) else list(embedded(p, y))
        np.testing.assert_allclose(one, labelled_of(p, x, sides), atol=2e-5)
        np.testing.assert_allclose(two, unlabelled_of(p, y), atol=2e-5)
        np.testing.assert_allclose(kept, embedded(p, y), atol=1e-5)
    alone = module.apply({"params": p}, x, method="alone")
    expected = np.concatenate([labelled_of(p, x[i : i + 1], [embedded(p, x)[i]]) for i in range(2)])
    np.testing.assert_allclose(alone, expected, atol=2e-5)


def test_dropout_draws_and_keeps_the_mean(block: Any, rng: np.random.Generator) -> None:
    module, p = block
    x = rng.normal(size=(2, H, H, C))
    run = jax.jit(lambda key: module.apply({"params": p}, x, x, None, key, method="relate")[0])
    assert not np.allclose(run(jax.random.key(0)), run(jax.random.key(1)))


def test_channels_go_to_the_class_they_resemble(rng: np.random.Generator) -> None:
    u = 2
    features, logits = rng.normal(size=(u, P, C)).astype(np.float32), rng.normal(size=(u, H, H, K)).astype(np.float32)
    valid = np.ones((u, H, H), bool)
    valid[1, 2] = False
    found = jax.jit(channels.channels_of, static_argnums=3)(features, logits, valid, (H, H))
    for i in range(u):
        seen = valid[i].ravel()
        for c in range(C):
            x = features[i, seen, c]
            cosines = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in logits[i].reshape(P, K)[seen].T]
            assert int(found.owner[i * C + c]) == int(np.argmax(cosines))
            np.testing.assert_allclose(banks.as_values(found.values[i * C + c]), features[i, :, c], rtol=2**-7)
    bank = channels.push(banks.empty(K, 3, P), jax.tree.map(lambda x: x[None], found))
    counts = np.bincount(np.asarray(found.owner), minlength=K)
    np.testing.assert_array_equal(bank.count, np.minimum(counts, 3))


def network(block: Any) -> EncoderDecoder:
    module, p = block
    apply = lambda method: lambda params, *given: module.apply({"params": p}, *given, method=method)
    alone = lambda params, f: (apply("alone")(params, f[-1]),)

    def relate(params: Any, labelled: Any, unlabelled: Any, memory: Any, key: Any) -> Any:
        one, two, kept = apply("relate")(params, labelled[-1], unlabelled[-1], memory, None)
        return (one,), (two,), kept

    return EncoderDecoder(
        lambda params, image: (image @ params["map"],),
        lambda params, f, size: f[-1] @ params["head"],
        None,
        alone,
        relate,
    )


@pytest.mark.parametrize("epoch", [0, 9])
def test_loss_equals_a_rendering(block: Any, epoch: int, rng: np.random.Generator) -> None:
    """½ (L_x + CE of the weak view to the labels that the student gives it alone), before and after the memory."""
    config, (_, p) = preset("allspark"), block
    student = {"map": rng.normal(size=(3, C)).astype(np.float32), "head": rng.normal(size=(C, K)).astype(np.float32)}
    batch = {
        "image": rng.normal(size=(2, H, H, 3)).astype(np.float32),
        "mask": rng.choice([0, 1, 2, 255], (2, H, H)).astype(np.int32),
        "weak": rng.normal(size=(3, H, H, 3)).astype(np.float32),
        "valid": rng.random((3, H, H)) < 0.9,
    }
    bank = banks.push(banks.empty(K, C, P), banks.as_bits(rng.normal(size=(5, P))), np.array([0, 0, 2, 2, 2]))
    frozen = Frozen(None, None, jnp.int32(epoch * 2), bank)
    setting = Setting(config, network(block), epoch_steps=2)
    run = jax.jit(lambda s, b: objective.semi_loss(setting, s, frozen, b, jax.random.key(0)), compiler_options=QUICK)
    loss, (_, seen) = run(student, batch)
    x, w = batch["image"] @ student["map"], batch["weak"] @ student["map"]
    sides = [np.asarray(bank.rows[k]).T for k in (0, 2)] if epoch else list(embedded(p, w))
    first, second = labelled_of(p, x, sides) @ student["head"], unlabelled_of(p, w) @ student["head"]
    alone = np.concatenate([labelled_of(p, w[i : i + 1], [embedded(p, w)[i]]) for i in range(3)]) @ student["head"]
    known = batch["mask"] != 255
    loss_x = entropy(first, np.where(known, batch["mask"], 0))[known].mean()
    loss_u = entropy(second, alone.argmax(-1))[batch["valid"]].mean()
    assert float(loss) == pytest.approx((loss_x + loss_u) / 2, rel=1e-4)
    owner = channels.channels_of(jnp.asarray(embedded(p, w)), alone, batch["valid"], (H, H)).owner
    np.testing.assert_array_equal(seen.owner, owner)
    after = after_step(config, frozen, student, jnp.int32(0), 2, jax.tree.map(lambda x: x[None], seen))
    assert after.bank is not None
    assert int(after.bank.count.sum()) == min(C, 2 + (owner == 0).sum()) + min(C, (owner == 1).sum()) + min(
        C, 3 + (owner == 2).sum()
    )


def test_a_block_that_changes_nothing_leaves_the_loss_as_it_is(rng: np.random.Generator) -> None:
    """Bit for bit that of a student that learns its own labels of the weak view, without a block."""
    config = preset("allspark")
    plain = dataclasses.replace(config, memory=MemoryConfig())
    same = lambda params, labelled, unlabelled, memory, key: (
        labelled,
        unlabelled,
        unlabelled[-1].reshape(3, P, C),
    )
    halves = (lambda p, image: (image @ p["map"],), lambda p, f, size: f[-1] @ p["head"])
    nets = EncoderDecoder(*halves), EncoderDecoder(*halves, None, lambda p, f: f, same)
    student = {"map": rng.normal(size=(3, C)).astype(np.float32), "head": rng.normal(size=(C, K)).astype(np.float32)}
    batch = {
        "image": rng.normal(size=(2, H, H, 3)).astype(np.float32),
        "mask": rng.choice([0, 1, 2, 255], (2, H, H)).astype(np.int32),
        "weak": rng.normal(size=(3, H, H, 3)).astype(np.float32),
        "valid": rng.random((3, H, H)) < 0.9,
    }
    frozen = Frozen(None, None, jnp.int32(0), banks.empty(K, C, P))
    losses = []
    for member, net in zip((plain, config), nets, strict=True):
        setting = Setting(member, net)
        run = lambda s, b, setting=setting: objective.semi_loss(setting, s, frozen, b, jax.random.key(0))
        losses.append(jax.jit(jax.value_and_grad(run, has_aux=True), compiler_options=QUICK)(student, batch))
    jax.tree.map(np.testing.assert_array_equal, losses[0][1], losses[1][1])
    assert losses[0][0][0] == losses[1][0][0]


def test_an_image_is_predicted_by_itself(block: Any, rng: np.random.Generator) -> None:
    student = {"map": rng.normal(size=(3, C)), "head": rng.normal(size=(C, K))}
    images = jnp.asarray(rng.normal(size=(3, H, H, 3)), jnp.float32)
    net = network(block)
    together = net(student, images)
    for i in range(3):
        np.testing.assert_allclose(net(student, images[i : i + 1])[0], together[i], atol=1e-5)


def test_a_resnet_has_the_block_at_its_deepest_layer() -> None:
    module, image = build_segmenter("resnet18", 3, folded=True, layers=3, heads=2), jnp.zeros((1, 32, 32, 3))
    params = jax.eval_shape(module.init, jax.random.key(0), image)["params"]
    assert sum(x.size for x in jax.tree.leaves(params["channels"])) == 18 * 256**2 + 6 * 256
    net = halves_of(module)
    assert net.relate is not None
    assert net.alone is not None
    assert halves_of(build_segmenter("resnet18", 3)).relate is None
    assert jax.eval_shape(net, params, image).shape == (1, 32, 32, 3)


def test_what_cannot_be_is_refused() -> None:
    semi = preset("allspark")
    assert passes(semi) == (7, 7)
    with pytest.raises(UserError, match=r"memory\.heads=2 needs learn_weak"):
        preset("unimatch_v1", memory=MemoryConfig(heads=2))
    with pytest.raises(UserError, match="learn_weak needs labels='self'"):
        preset("allspark", views=1)
    config = recipe("allspark", phases=(Phase(1, 28, 4), Phase(1, 42, 4)))
    with pytest.raises(UserError, match="give all phases the same"):
        make_method(config, Manifest(("a", "b")))
    big = recipe("allspark", model=ModelConfig("dinov2_vitb14"), phases=(Phase(1, 28, 4),))
    with pytest.raises(UserError, match="maps of 377 MB an image"):
        make_method(big, Manifest(tuple(str(i) for i in range(40))))
    method = make_method(
        recipe("allspark", model=ModelConfig("resnet18"), phases=(Phase(1, 64, 4),)), Manifest(("a", "b"))
    )
    shapes = jax.eval_shape(lambda: method.init_extra(method.init(jax.random.key(0))["params"]))
    assert shapes.bank.values.shape == (2, 512, 4)
    assert init_frozen(preset("cps"), {"w": jnp.ones(1)}).bank is None
