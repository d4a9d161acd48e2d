"""Two players in one loss: gradients, their order, what the log says of them, and scores that are an image's alone."""

from functools import partial
from types import SimpleNamespace

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from scipy.ndimage import correlate1d

from jaxqc.anomaly.detectors.base import BackboneConfig
from jaxqc.anomaly.detectors.reconstruction_codes import Vae
from jaxqc.anomaly.detectors.reconstruction_parts import DescentConfig
from jaxqc.anomaly.detectors.reconstruction_players import GAN, AnoGan, FAnoGan, Ganomaly
from jaxqc.anomaly.features import load_backbone
from jaxqc.anomaly.reconstruction.adversary import Playing
from jaxqc.anomaly.reconstruction.detector import Reconstructed
from jaxqc.anomaly.reconstruction.game import LOST, PATIENCE, Game, counted, entropy_of, faced, steepness
from jaxqc.models.critic import ResidualCritic
from jaxqc.models.vector_unet import bands
from jaxqc.nn.norm import BatchNorm
from jaxqc.types import AXIS
from tests.support.drawn import drawn

SIDE, PIXELS = 8, BackboneConfig("pixels", layers=(1,))
GANOMALY = Ganomaly(width=1 / 32, latent=5)


@pytest.fixture(scope="module")
def played() -> SimpleNamespace:
    """A tiny GANomaly: its method, variables, and a step on one device → gradients, new state, logs."""
    method = Playing(GANOMALY, load_backbone(PIXELS), SIDE)
    variables = jax.jit(method.init)(jax.random.key(0))

    def one(params, state, batch):
        read = {**state, **method.frozen()}
        return jax.grad(method.loss, has_aux=True)(params, read, batch, jax.random.key(2))

    adam = optax.adam(0.2)

    @jax.jit
    def step(params, state, moments, images):
        batch = {"image": images, "key": jax.random.split(jax.random.key(1), len(images))}
        lifted = jax.tree.map(lambda x: x[None], (params, state, batch))
        slope, (state, logs) = jax.tree.map(lambda x: x[0], jax.vmap(one, axis_name=AXIS)(*lifted))
        change, moments = adam.update(slope["critic"], moments)
        moved = dict(params) | {"critic": optax.apply_updates(params["critic"], change)}
        return slope, moved, state, moments, logs

    state = {name: value for name, value in variables.items() if name != "params"}
    first = variables["params"], state, adam.init(variables["params"]["critic"])
    return SimpleNamespace(method=method, first=first, step=step)


def test_each_player_has_a_gradient_and_each_term_is_logged(played, rng):
    images = rng.integers(0, 256, (4, SIDE, SIDE, 3), np.uint8)
    slope, _, state, _, logs = played.step(*played.first, images)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope))
    assert set(logs) == {"l1", "feature", "relatent", "critic", "critic_won", "critic_lost"}
    changed = jax.tree.map(lambda a, b: np.abs(a - b).max() > 0, state["batch_stats"], played.first[1]["batch_stats"])
    assert all(jax.tree.leaves(changed))


def test_the_log_says_that_a_critic_won(played):
    """The maker stands still, and real images are white, so that nothing can deceive the critic."""
    now, white = played.first, np.full((4, SIDE, SIDE, 3), 255, np.uint8)
    won, entropies = [], []
    for _ in range(2 * PATIENCE):
        _, *now, logs = played.step(*now, white)
        won.append(float(logs["critic_won"]))
        entropies.append(float(logs["critic"]))
    assert won[0] == 0
    assert entropies[-1] < 1e-3
    assert won[-1] == 1
    assert won.index(1.0) >= PATIENCE - 1
    metrics = played.method.init_metrics() | {name: 3 * now[1]["game"][name] for name in ("critic_won", "critic_lost")}
    summary = played.method.summarize(jax.device_get(metrics | {"weight": jnp.float32(3)}))
    assert (summary["critic_won"], summary["critic_lost"]) == (1, 0)
    assert any("critic won" in line for line in played.method.warned(summary))


def test_a_critic_has_lost_after_as_many_steps_worse_than_guessing():
    game = dict.fromkeys(Game._fields, jnp.float32(0))
    for _ in range(PATIENCE):
        assert game["critic_lost"] == 0
        game = counted(game, LOST + 0.1)
    assert (game["critic_lost"], game["critic_won"]) == (1, 0)
    game = counted(game, 1.0)
    assert (game["losing"], game["critic_lost"]) == (0, 1)  # what was, stays said


def test_one_loss_has_the_two_gradients_and_one_adam_is_two(rng):
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    params = {"maker": {"a": draw(3, 4), "b": draw(4, 5)}, "critic": {"v": draw(5, 6), "w": draw(6)}}
    z, real = draw(7, 3), draw(7, 5)
    make = lambda own: jnp.tanh(z @ own["a"]) @ own["b"]

    def judge(own, stats, x):
        features = jnp.tanh(x @ own["v"])
        return {"features": features, "logit": features @ own["w"]}, stats

    def whole(both):
        seen = faced(judge, both["critic"], {}, (real,), (make(both["maker"]),))
        maker = nn.softplus(-seen.made["logit"]).mean()
        maker += jnp.square(seen.real["features"] - seen.made["features"]).mean()
        return maker + entropy_of(seen.own_real["logit"], seen.own_made["logit"])

    def of_maker(own):
        true, made = judge(params["critic"], {}, real)[0], judge(params["critic"], {}, make(own))[0]
        return nn.softplus(-made["logit"]).mean() + jnp.square(true["features"] - made["features"]).mean()

    def of_critic(own):
        true, made = judge(own, {}, real)[0], judge(own, {}, make(params["maker"]))[0]
        return -jnp.log(nn.sigmoid(true["logit"])).mean() - jnp.log(1 - nn.sigmoid(made["logit"])).mean()

    @jax.jit
    def slopes(both):
        adam, one = optax.adam(2e-4, b1=0.5), jax.grad(whole)(both)
        two = {"maker": jax.grad(of_maker)(both["maker"]), "critic": jax.grad(of_critic)(both["critic"])}
        flat, as_tree = ravel_pytree(one)
        apart = {name: adam.update(own, adam.init(own))[0] for name, own in two.items()}
        return one, two, as_tree(adam.update(flat, adam.init(flat))[0]), apart

    one, two, together, apart = slopes(params)
    close = partial(np.testing.assert_allclose, atol=1e-7, rtol=1e-5)
    jax.tree.map(close, one, two)
    jax.tree.map(close, together, apart)


def test_a_score_is_its_images_alone(rng):
    """Beside other images, beside white noise, and after the running statistics are no longer those of the start."""
    detector = Reconstructed(GANOMALY, PIXELS)
    method = detector.method(load_backbone(PIXELS), SIDE)
    variables = jax.device_get(jax.jit(method.init)(jax.random.key(0)))
    variables["batch_stats"] = jax.tree.map(
        lambda x: x + rng.uniform(0.1, 0.2, x.shape).astype(np.float32), variables["batch_stats"]
    )
    state = detector.trained(variables)
    score = jax.jit(lambda state, x: detector.score(state, x, SIDE))
    x, others, noise = (rng.uniform(size=(3, SIDE, SIDE, 3)).astype(np.float32) for _ in range(3))
    maps, scores = score(state, x)
    for beside in (others, noise > 0.5):
        mixed_maps, mixed = score(state, np.concatenate([x[1:2], np.float32(beside[:2])]))
        np.testing.assert_allclose(mixed_maps[0], maps[1], rtol=1e-5)
        np.testing.assert_allclose(mixed[0], scores[1], rtol=1e-5)
    assert np.ptp(scores) > 0


def test_a_code_is_sought_by_the_critic_whatever_makes_the_images_score(rng):
    config = AnoGan(width=1 / 32, latent=3, image="map", descent=DescentConfig(1, 0.1))
    detector = Reconstructed(config, PIXELS)
    method = detector.method(load_backbone(PIXELS), SIDE)
    shapes = jax.eval_shape(method.init, jax.random.key(0))
    state = detector.trained(jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes))
    maps, scores = jax.eval_shape(lambda x: detector.score(state, x, SIDE), jnp.zeros((2, SIDE, SIDE, 3)))
    assert (maps.shape, scores.shape) == ((2, SIDE, SIDE), (2,))


def test_a_density_scores_the_codes_of_a_network_with_a_critic():
    narrow = {"widths": (4,), "kernels": (4,), "strides": (2,)}
    detector = Reconstructed(Vae(width=1 / 4, latent=3, image="density", adversary=GAN, **narrow), PIXELS)
    shapes = jax.eval_shape(detector.method(load_backbone(PIXELS), SIDE).init, jax.random.key(0))
    variables = jax.tree.map(lambda x: np.ones(x.shape, x.dtype), shapes)
    shapes = {"middle": (4,), "unit": (4,), "log_share": (1,), "mean": (1, 4), "whitener": (1, 4, 4)}
    state = detector.trained({**variables, "density": {name: np.ones(shape) for name, shape in shapes.items()}})
    _, scores = jax.eval_shape(lambda x: detector.score(state, x, SIDE), jnp.zeros((2, SIDE, SIDE, 3)))
    assert scores.shape == (2,)


def test_the_encoders_loss_has_the_critics_features_whatever_makes_the_images_score():
    detector = FAnoGan(width=1 / 32, latent=3, image="map").on(PIXELS)
    pixels, images = load_backbone(PIXELS), jax.ShapeDtypeStruct((2, SIDE, SIDE, 3), jnp.uint8)
    players = jax.eval_shape(detector.playing(pixels, SIDE).init, jax.random.key(0))
    known = {"players": jax.tree.map(lambda x: np.ones(x.shape, x.dtype), players)}
    method = detector.method(pixels, SIDE).after(known)
    start = jax.eval_shape(method.init, jax.random.key(0))
    step = lambda params, images: method.loss(params, method.frozen(), {"image": images}, jax.random.key(0))
    _, (_, logs) = jax.eval_shape(step, start["params"], images)
    assert set(logs) == {"l2", "feature"}


def test_a_penalty_is_that_of_a_linear_critic_and_moves_its_weights(rng):
    """|w| is the slope's norm everywhere, so that the penalty is (|w| - 1)² and its gradient 2 (|w| - 1) w / |w|."""
    w, real, made = rng.normal(size=12), rng.normal(size=(3, 2, 2, 3)), rng.normal(size=(3, 2, 2, 3))
    share = np.float32([0, 0.3, 1])
    own = lambda w: steepness(lambda x: x.reshape(3, 12) @ w, jnp.float32(real), jnp.float32(made), share)
    penalty, slope = jax.jit(jax.value_and_grad(own))(jnp.float32(w))
    norm = np.sqrt(np.square(w).sum())
    np.testing.assert_allclose(penalty, (norm - 1) ** 2, rtol=1e-4)
    np.testing.assert_allclose(slope, 2 * (norm - 1) * w / norm, rtol=1e-4)


def test_a_residual_critic_has_no_gradient_that_is_written_out_and_keeps_images_apart(rng):
    """A gradient that is written out cannot be differentiated again, and a norm over the batch would mix slopes."""
    critic, x = ResidualCritic(2), rng.uniform(-1, 1, (2, 8, 8, 3)).astype(np.float32)
    params = drawn(critic, x)["params"]
    words = lambda params, x: critic.apply({"params": params}, x)["logit"]
    assert "custom_vjp" not in str(jax.make_jaxpr(words)(params, x))
    assert "custom_vjp" in str(jax.make_jaxpr(lambda x: BatchNorm().init_with_output(jax.random.key(0), x, True))(x))
    say = jax.jit(lambda x: words(params, x))
    np.testing.assert_allclose(say(x)[0], say(np.stack([x[0], 9 * x[1]]))[0], rtol=1e-5)


def test_the_bands_are_those_of_a_gaussian_pyramid_and_add_up(rng):
    x = rng.uniform(size=(1, 16, 8, 2)).astype(np.float32)
    low, high, binomial = *jax.jit(bands)(x), np.array([1, 4, 6, 4, 1]) / 16
    wanted = x.astype(np.float64)
    for axis in (1, 2):
        down = correlate1d(wanted, binomial, axis, mode="mirror").take(np.arange(0, x.shape[axis], 2), axis)
        apart = np.zeros(np.where(np.arange(4) == axis, x.shape, down.shape))
        np.moveaxis(apart, axis, 0)[::2] = np.moveaxis(down, axis, 0)
        wanted = correlate1d(apart, 2 * binomial, axis, mode="mirror")
    np.testing.assert_allclose(low, wanted, atol=1e-5)
    np.testing.assert_allclose(low + high, x, atol=1e-6)
