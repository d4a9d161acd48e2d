"""The segmenter: its two halves apart, both encoders, what it learns and what it refuses."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models.dinov2 import VITS, ViT, ViTSpec, build_vit
from jaxqc.models.dpt import DPT
from jaxqc.models.resnet import BACKBONES
from jaxqc.models.segmenter import Segmenter, build_segmenter, encoder_spec, with_encoder
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.nn.resizing import resize_align_corners
from tests.support.tiny_segmenters import TINY, drawn, picture, small_resnet, tiny


@pytest.mark.parametrize(
    "network", [tiny(), pytest.param(small_resnet(), marks=pytest.mark.slow)], ids=["transformer", "resnet"]
)
def test_the_halves_apart_are_the_whole(network: Segmenter) -> None:
    variables = drawn(network)
    image = picture(2, 56, 70)
    # Each half needs its own variables alone.
    encoder = {kind: {"encoder": tree["encoder"]} for kind, tree in variables.items()}
    head = {"params": {"head": variables["params"]["head"]}}

    @jax.jit
    def run(variables, encoder, head, image):
        features = network.apply(encoder, image, method="encode")
        decode = lambda *size: network.apply(head, features, *size, method="decode")
        return network.apply(variables, image), decode((56, 70)), decode()

    whole, apart, small = run(variables, encoder, head, image)
    np.testing.assert_allclose(apart, whole, atol=1e-6)
    assert small.shape == ((2, 32, 40, 5) if isinstance(network.encoder, ViT) else (2, 28, 36, 5))
    np.testing.assert_allclose(resize_align_corners(small, 56, 70), whole, atol=1e-5)


@pytest.mark.slow
def test_features_may_be_masked_and_shared_between_heads() -> None:
    network = tiny()
    first, second = drawn(network), drawn(network, 1)
    image = picture(2, 28, 42)
    features = jax.jit(lambda v, i: network.apply(v, i, method="encode"))(first, image)
    masks = [2.0 * (np.random.default_rng(i).random((2, 1, 1, f.shape[-1])) < 0.5) for i, f in enumerate(features)]
    masked = tuple(f * m.astype(np.float32) for f, m in zip(features, masks, strict=True))
    decode = jax.jit(lambda head, maps: network.apply({"params": {"head": head}}, maps, (28, 42), method="decode"))
    plain, dropped = (decode(first["params"]["head"], maps) for maps in (features, masked))
    assert np.abs(plain - dropped).max() > 0.01
    # A mask of one image leaves the others alone.
    one = tuple(f * jnp.asarray(m).at[1].set(1) for f, m in zip(features, masks, strict=True))
    np.testing.assert_allclose(decode(first["params"]["head"], one)[1], plain[1], atol=1e-5)
    heads = jax.tree.map(lambda a, b: np.stack([a, b]), first["params"]["head"], second["params"]["head"])
    both = jax.jit(jax.vmap(decode, (0, None)))(heads, features)
    np.testing.assert_allclose(both[1], decode(second["params"]["head"], features), atol=1e-5)


def test_every_used_parameter_learns() -> None:
    """No gradient is zero but those of the mask token and of the published head's unit that nothing enters."""
    network = tiny()
    variables = drawn(network)
    image = picture(2, 28, 42)
    gradient = jax.jit(jax.grad(lambda v: (network.apply(v, image) ** 2).sum()))(variables)["params"]
    assert np.abs(gradient["encoder"].pop("mask_token")).max() == 0
    assert all(np.abs(leaf).max() == 0 for leaf in jax.tree.leaves(gradient["head"]["fuse4"].pop("skip")))
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.slow
def test_a_tiny_segmenter_learns_on_a_cpu() -> None:
    """From its own start, plain gradient descent on one batch: which quadrant a pixel's image has lit."""
    network = Segmenter(ViT(ViTSpec(32, 4, 1, (0, 1, 2, 3), grid=3)), DPT(2, 8, (8, 8, 8, 8)))
    rng = np.random.default_rng(0)
    mask = np.zeros((4, 42, 42), np.int32)
    for i in range(4):
        mask[i, 21 * (i // 2) : 21 * (i // 2) + 21, 21 * (i % 2) : 21 * (i % 2) + 21] = 1
    image = (mask[..., None] + 0.3 * rng.normal(size=(4, 42, 42, 3))).astype(np.float32)

    @jax.jit
    def step(params):
        def loss(params):
            log_p = jax.nn.log_softmax(network.apply({"params": params}, image))
            return -jnp.take_along_axis(log_p, mask[..., None], -1).mean()

        value, gradient = jax.value_and_grad(loss)(params)
        norm = jnp.sqrt(sum((g**2).sum() for g in jax.tree.leaves(gradient)))
        return jax.tree.map(lambda p, g: p - 0.3 * g / jnp.maximum(norm, 1), params, gradient), value

    params = jax.jit(network.init)(jax.random.key(0), image)["params"]
    losses = []
    for _ in range(40):
        params, value = step(params)
        losses.append(float(value))
    assert losses[0] == pytest.approx(np.log(2), abs=0.2)
    assert losses[-1] < 0.3


def test_the_prior_starts_the_last_bias() -> None:
    heads = [DPT(5, 4, prior=prior, channels=()) for prior in ((0.9, 0.1, 0.0, 0.0, 0.0), ())]
    # Only the biases are computed: the rest of the start is dropped by the compiler.
    features = [np.zeros((1, side, side, 4), np.float32) for side in (8, 4, 2, 1)]
    start = jax.jit(lambda: [h.init(jax.random.key(0), features)["params"]["logits"]["bias"] for h in heads])
    chosen, plain = start()
    np.testing.assert_allclose(jax.nn.softmax(chosen), [0.9, 0.1, 1e-4, 1e-4, 1e-4], atol=1e-3)
    np.testing.assert_array_equal(plain, 0)


@pytest.mark.slow
def test_bfloat16_gives_float32_logits() -> None:
    exact, half = tiny(), Segmenter(ViT(TINY, dtype=jnp.bfloat16), DPT(5, 16, (8, 16, 24, 32), dtype=jnp.bfloat16))
    variables, image = drawn(exact), picture(1, 56, 42)
    expected, found = (jax.jit(network.apply)(variables, image) for network in (exact, half))
    assert found.dtype == jnp.float32
    features = jax.eval_shape(lambda: half.apply(variables, image, method="encode"))
    assert {f.dtype for f in features} == {jnp.dtype("bfloat16")}
    built = build_segmenter("vit_tiny14", 5, "bfloat16")
    assert (built.encoder.dtype, built.head.dtype) == (jnp.bfloat16, jnp.bfloat16)
    assert 0 < np.abs(found - expected).mean() < 0.1 * float(np.std(expected))


@pytest.mark.slow
def test_resnets_train_and_fold() -> None:
    network, folded = small_resnet(), small_resnet(folded=True)
    assert build_segmenter("resnet18", 5, folded=True).encoder.norm.folded
    variables, image = drawn(network), picture(2, 64, 32)
    _, state = jax.jit(lambda v, i: network.apply(v, i, True, mutable=["batch_stats"]))(variables, image)
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, state["batch_stats"], variables["batch_stats"])
    assert all(jax.tree.leaves(moved))
    expected = jax.jit(network.apply)(variables, image)
    np.testing.assert_allclose(jax.jit(folded.apply)(fold_batch_norm(variables), image), expected, atol=1e-4)


def test_encoder_weights_go_in_whole_or_in_part_and_foreign_ones_are_told() -> None:
    network = build_segmenter("resnet18", 3)
    variables, other = drawn(network), drawn(network, 1)
    given = {kind: dict(tree["encoder"]) for kind, tree in other.items()}
    merged, kept = with_encoder(variables, given)
    assert kept == ()
    jax.tree.map(np.testing.assert_array_equal, merged["params"]["encoder"], given["params"])
    jax.tree.map(np.testing.assert_array_equal, merged["batch_stats"]["encoder"], given["batch_stats"])
    jax.tree.map(np.testing.assert_array_equal, merged["params"]["head"], variables["params"]["head"])
    part = {kind: {k: v for k, v in tree.items() if not k.startswith("layer4")} for kind, tree in given.items()}
    merged, kept = with_encoder(variables, part)
    assert set(kept) == {"layer4_0", "layer4_1"}
    jax.tree.map(
        np.testing.assert_array_equal,
        merged["params"]["encoder"]["layer4_1"],
        variables["params"]["encoder"]["layer4_1"],
    )
    with pytest.raises(UserError, match="bring batch_stats"):
        with_encoder(drawn(tiny()), given)
    with pytest.raises(UserError, match=r"params/cls_token has no place"):
        with_encoder(variables, {"params": {"cls_token": np.zeros((1, 1, 3))}})
    with pytest.raises(UserError, match=r"params/conv1/kernel has shape \(3, 3\)"):
        with_encoder(variables, {"params": {"conv1": {"kernel": np.zeros((3, 3))}}})


def test_pyramids_name_what_every_encoder_gives() -> None:
    assert encoder_spec("resnet50").widths == (256, 512, 1024, 2048)
    assert encoder_spec("dinov2_vitb14_reg").multiple == 14
    assert all(len(encoder_spec(name).widths) == 4 for name in [*VITS, *BACKBONES])
    for name in ("vit_tiny14", "dinov2_vits14_reg", "resnet18_cbam", "wide_resnet50_2"):
        network = build_segmenter(name, 2)
        image = jax.ShapeDtypeStruct((1, 56, 56, 3), jnp.float32)
        features = jax.eval_shape(
            lambda i, network=network: network.init_with_output(jax.random.key(0), i, method="encode")[0], image
        )
        assert tuple(f.shape[-1] for f in features) == encoder_spec(name).widths
        assert features[0].shape[1] == (4 if name in VITS else 14)
    assert isinstance(build_segmenter("vit_tiny14", 2).encoder, type(build_vit("vit_tiny14")))


@pytest.mark.parametrize("layers", [2, 3])
def test_a_resnet_may_end_before_its_last_layer(layers: int) -> None:
    """Leaves out that layer, its narrowing convolution and the fusion that takes it, nothing else."""
    assert encoder_spec("resnet18", layers).widths == encoder_spec("resnet18").widths[:layers]
    shapes = lambda network: jax.eval_shape(lambda: network.init(jax.random.key(0), jnp.zeros((1, 64, 64, 3))))
    short, whole = (shapes(build_segmenter("resnet18", 3, layers=n))["params"] for n in (layers, 4))
    for part, last in (("encoder", r"layer(\d)"), ("head", r"(?:narrow|fuse)(\d)")):
        deep = {name for name in whole[part] if (found := re.match(last, name)) and int(found[1]) > layers}
        assert deep
        assert short[part] == {name: leaf for name, leaf in whole[part].items() if name not in deep}
    network = build_segmenter("resnet18", 3, layers=layers)
    logits = jax.eval_shape(lambda v, x: network.apply(v, x), shapes(network), jnp.zeros((2, 50, 70, 3)))
    assert logits.shape == (2, 50, 70, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"encoder": "resnet18", "layers": 1}, "layers=1: resnet18 takes 2 to 4"),
        ({"layers": 3}, "layers=3: vit_tiny14 takes 4"),
        ({"encoder": "dinov2_vits15"}, "did you mean 'dinov2_vits14'"),
        ({"classes": 0}, "classes = 0"),
        ({"hidden": -1}, "hidden = -1"),
        ({"channels": (1, 2, 3)}, "four positive"),
        ({"encoder": "resnet18", "channels": (1, 2, 3, 4)}, "only for transformers"),
        ({"prior": (0.5, 0.5)}, "each of 3 classes"),
        ({"prior": (0.0, 0.0, 0.0)}, "prior"),
        ({"dtype": "float64"}, "dtype 'float64'"),
        ({"encoder": "resnet18", "dtype": "float64"}, "dtype 'float64'"),
    ],
)
def test_mistakes_are_named(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        build_segmenter(**{"encoder": "vit_tiny14", "classes": 3} | arguments)


@pytest.mark.parametrize("name", ["efficientnet_lite0", "efficientnet_lite2"])
def test_efficientnets_are_encoders(name: str) -> None:
    """Their layers' channels are those that the specification says, at any size of image."""
    network, image = build_segmenter(name, 4, folded=True, layers=3, hidden=8), jnp.zeros((1, 50, 66, 3))
    params = jax.eval_shape(network.init, jax.random.key(0), image)
    features = jax.eval_shape(lambda p: network.apply(p, image, method="encode"), params)
    assert tuple(f.shape[-1] for f in features) == encoder_spec(name, 3).widths
    assert jax.eval_shape(network.apply, params, image).shape == (1, 50, 66, 4)
