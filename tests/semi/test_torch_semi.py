"""The PyTorch rendering of UniMatch V2's step and ours: one loss, one gradient, one teacher after the step."""

import copy
import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch (extra: peers)")

from benchmarks.peers.torch_dinov2 import DPT as Head
from benchmarks.peers.torch_dinov2 import ViT as Encoder
from benchmarks.peers.torch_dinov2 import load_head
from benchmarks.peers.torch_semi import (
    Segmenter as Peer,
)
from benchmarks.peers.torch_semi import (
    StepSetting,
    Training,
    draw_factors,
    from_prepared,
    load_segmenter,
    semi_loss,
    step_call,
    step_settings,
)
from jaxqc.models.dinov2 import ViT, ViTSpec
from jaxqc.models.dpt import DPT
from jaxqc.models.pretrained_vit import export_vit
from jaxqc.models.segmenter import Segmenter
from jaxqc.semi import dropout, objective
from jaxqc.semi.forward import sample_keys
from jaxqc.semi.frozen import Frozen, after_step
from jaxqc.semi.network import halves_of
from jaxqc.semi.recipe import TiersConfig, preset
from jaxqc.semi.setting import Setting

torch.set_num_threads(1)  # the network is small, and other test processes share the cores
QUICK = {"xla_backend_optimization_level": 1}
CPU = torch.device("cpu")
SPEC = ViTSpec(64, 4, 2, (0, 1, 2, 3), grid=4)
CHANNELS = (8, 16, 24, 32)
CLASSES, B, S = 5, 3, 42
RATE, STEP, TOTAL = 1e-3, 3, 10


def module() -> Segmenter:
    return Segmenter(ViT(SPEC), DPT(CLASSES, 16, CHANNELS))


def drawn(seed: int) -> Any:
    """Parameters that leave no signal at a neutral value."""
    rng = np.random.default_rng(seed)
    shapes = jax.eval_shape(lambda: module().init(jax.random.key(0), jnp.zeros((1, 28, 28, 3))))["params"]

    def draw(path: Any, leaf: Any) -> np.ndarray:
        last = path[-1].key
        if last == "kernel":
            return (rng.normal(size=leaf.shape) * np.sqrt(2 / np.prod(leaf.shape[:-1]))).astype(np.float32)
        low, high = {"scale": (0.6, 1.2), "gamma": (0.4, 0.8)}.get(last, (-0.2, 0.2))
        return rng.uniform(low, high, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def peer(params: Any) -> Peer:
    encoder = Encoder(SPEC.width, SPEC.depth, SPEC.heads, SPEC.taps, SPEC.grid)
    return load_segmenter(params, Peer(encoder, Head((SPEC.width,) * 4, CLASSES, 16, CHANNELS)))


def prepared(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    inside = np.zeros((2, B, S, S), bool)
    inside[0, 0, 5:30, 10:20] = inside[0, 2, :20, :35] = inside[1, 1, 8:25, 8:40] = True  # the middle: its own partner
    valid = np.ones((B, S, S), bool)
    valid[0, :, 30:] = False
    return {
        "image": rng.normal(size=(B, S, S, 3)).astype(np.float32),
        "mask": rng.choice([*range(CLASSES), 255], (B, S, S)).astype(np.int32),
        "weak": rng.normal(size=(B, S, S, 3)).astype(np.float32),
        "strong": rng.normal(size=(2, B, S, S, 3)).astype(np.float32),
        "inside": inside,
        "valid": valid,
    }


def named(params: Any) -> dict[str, Any]:
    """Our tree by the peer's names."""
    encoder = {f"encoder.{name}": value for name, value in export_vit({"params": params["encoder"]}).items()}
    head = load_head(params["head"], Head((SPEC.width,) * 4, CLASSES, 16, CHANNELS))
    return encoder | {f"head.{name}": value.detach().numpy() for name, value in head.named_parameters()}


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    """Loss, gradient, student and teacher of one of our steps, and what it was given."""
    student, teacher, batch, key = drawn(0), drawn(1), prepared(), jax.random.key(2)
    network = halves_of(module())
    with torch.no_grad():
        confidence = peer(teacher)(from_prepared(batch, CPU, StepSetting())["weak"]).softmax(1).amax(1)
    # The bound lies in a gap, so that no pixel's side hangs on a rounding.
    middle = np.sort(confidence.numpy(), axis=None)[B * S * S // 3 : B * S * S // 2]
    gap = int(np.argmax(np.diff(middle)))
    bound = float(middle[gap] + middle[gap + 1]) / 2
    config = dataclasses.replace(preset("unimatch_v2"), tiers=TiersConfig((bound,), (1.0,)))
    frozen = Frozen(teacher)
    loss = lambda p, b: objective.semi_loss(Setting(config, network), p, frozen, b, key)
    (value, logs), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)(student, batch)
    assert 0.3 < float(logs["tier1_share"]) < 0.8

    share = (1 - STEP / TOTAL) ** 0.9
    moved = {}
    for part, rate in (("encoder", RATE), ("head", 40 * RATE)):
        optimizer = optax.adamw(rate * share, weight_decay=0.01)
        change, _ = optimizer.update(gradient[part], optimizer.init(student[part]), student[part])
        moved[part] = optax.apply_updates(student[part], change)
    after = after_step(config, frozen, moved, jnp.int32(STEP))
    masks = jax.jit(lambda key: dropout.complementary_masks(sample_keys(key, B, None), SPEC.width))
    factors = np.concatenate(masks(jax.random.split(key)[0]))
    return {
        "params": (student, teacher), "batch": batch, "bound": bound, "factors": torch.tensor(factors),
        "loss": float(value), "gradient": named(gradient), "student": named(moved), "teacher": named(after.teacher),
    }  # fmt: skip


SETTINGS = [StepSetting(), StepSetting(joined=False), StepSetting(channels_last=True)]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda s: s.name)
def test_loss_and_gradient_are_ours(ours: dict[str, Any], setting: StepSetting) -> None:
    student, teacher = map(peer, ours["params"])
    memory = torch.channels_last if setting.channels_last else torch.contiguous_format
    student = student.to(memory_format=memory)
    batch = from_prepared(ours["batch"], CPU, setting)
    loss = semi_loss(student, teacher, batch, ours["factors"], setting, ours["bound"])
    assert float(loss.detach()) == pytest.approx(ours["loss"], rel=1e-4)
    loss.backward()
    compared = 0
    for name, p in student.named_parameters():
        expected = ours["gradient"][name]
        if p.grad is None:  # the mask token and the unit that nothing enters
            assert not expected.any()
            continue
        np.testing.assert_allclose(p.grad, expected, atol=1e-3 * np.abs(expected).max(), err_msg=name)
        compared += 1
    assert compared > 80
    assert all(p.grad is None for p in teacher.parameters())


def test_student_and_teacher_after_a_step_are_ours(ours: dict[str, Any]) -> None:
    training = Training(peer(ours["params"][0]), StepSetting(), CPU, RATE, total=TOTAL, threshold=ours["bound"])
    training.teacher = peer(ours["params"][1])
    training.pairs[0] = [p.detach() for p in training.teacher.parameters()]
    training.done = STEP
    training.step(from_prepared(ours["batch"], CPU, StepSetting()), ours["factors"])
    states = {"student": training.student, "teacher": training.teacher}
    for which, model in states.items():
        for name, p in model.named_parameters():
            gradient = np.abs(ours["gradient"][name])
            # Adam's first step is the gradient's sign: it is not told where the gradient is only rounding.
            told = gradient > 1e-4 * gradient.max()
            if gradient.max() == 0:
                continue
            assert told.mean() > 0.5
            step = (1 if name.startswith("encoder") else 40) * RATE
            found, expected = p.detach().numpy()[told], ours[which][name][told]
            np.testing.assert_allclose(found, expected, atol=0.02 * step, err_msg=f"{which} {name}")
    start = named(ours["params"][1])
    moved = max(np.abs(p.detach().numpy() - start[n]).max() for n, p in training.teacher.named_parameters())
    assert moved > 0.1 * RATE


def test_the_drawn_factors_are_complementary() -> None:
    torch.manual_seed(0)
    first, second = draw_factors(5, 200, CPU).chunk(2)
    whole = (first == 1).all(1)
    assert int(whole.sum()) == 2
    torch.testing.assert_close(first + second, torch.full_like(first, 2.0))
    assert set(first[~whole].unique().tolist()) == {0.0, 2.0}
    assert 0.4 < float(first[~whole].mean() / 2) < 0.6


def test_the_step_learns_and_leaves_its_model_alone() -> None:
    model = peer(drawn(0))
    before = copy.deepcopy(model.state_dict())
    call = step_call(model, StepSetting(), prepared(), CPU, lr=1e-4)
    losses = [call().item() for _ in range(12)]
    assert losses[-1] < 0.8 * losses[0]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_settings_have_names_of_their_own() -> None:
    names = [s.name for s in step_settings()]
    assert len(set(names)) == len(names)
    assert "eager two passes" in names
    assert "eager channels_last" in names
    assert not any(s.compile != "off" for s in step_settings(compiled=False))
    assert all("bf16" in s.name for s in step_settings(bf16=True))
