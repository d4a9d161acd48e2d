"""Parts of an export that need no export to test: parity, flags, a function written out flat."""

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxqc.cli import main
from jaxqc.config import ModelConfig
from jaxqc.errors import UserError
from jaxqc.export.folder import landing, read, save_arrays, save_json
from jaxqc.export.graph import graph_of
from jaxqc.export.inline import inlined
from jaxqc.export.parity import differences, outside
from jaxqc.models.dinov2 import VITS, ViTSpec
from jaxqc.semi.model import Segmentation
from jaxqc.semi.network import make_network
from jaxqc.semi.recipe import SemiTrainConfig


@pytest.fixture
def export(tmp_path) -> Path:
    """A folder with all that an export has, though no graph that runs."""
    meta = {"export_format": 1, "kind": "saliency", "graph": "stablehlo", "classes": ["crack"], "input": {},
            "outputs": {}, "thresholds": {}}  # fmt: skip
    (tmp_path / f".first.part-{2**22}").mkdir()  # of a killed one
    with landing(tmp_path / "first") as part:
        (part / "model.stablehlo").write_bytes(b"graph")
        save_arrays(part / "weights.npz", {"kernel": np.ones(1)})
        save_arrays(part / "golden.npz", {"image": np.ones(1)})
        save_json(part / "meta.json", meta)
    return tmp_path / "first"


def test_an_export_lands_alone_and_is_not_replaced(export):
    assert [path.name for path in export.parent.iterdir()] == ["first"]
    assert not (export / ".lock").exists()
    with pytest.raises(UserError, match="there already"), landing(export):
        pass
    with landing(export.parent / "second"), ThreadPoolExecutor(1) as another:
        error = another.submit(landing(export.parent / "second").__enter__).exception()
    assert "in use by process" in str(error)


@pytest.mark.parametrize("name", ["model.stablehlo", "meta.json", "SHA256SUMS"])
def test_every_altered_bit_of_an_export_is_refused(export, name):
    sound = (export / name).read_bytes()
    assert read(export).meta["classes"] == ["crack"]
    passed = []
    for bit in range(8 * len(sound)):
        damaged = bytearray(sound)
        damaged[bit // 8] ^= 1 << bit % 8
        (export / name).write_bytes(damaged)
        with contextlib.suppress(UserError):
            read(export)
            passed.append(bit)
    assert not passed
    (export / name).write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        read(export)


def test_parity_counts_numbers_and_labels():
    expected = {"map": np.array([0.5, 1.0]), "score": np.array([200.0]), "mask": np.array([True] * 4)}
    found = {"map": np.array([0.5, 0.9]), "score": np.array([202.0]), "mask": np.array([True] * 3 + [False])}
    apart = differences(found, expected)
    assert apart == pytest.approx({"map": 0.1, "score": 0.01, "mask": 0.25})
    assert [line.split(":")[0] for line in outside(apart, expected, 0.05)] == ["map", "mask"]
    one = {"map": expected["map"]}
    assert outside(differences({"map": np.array([np.nan, 1])}, one), one, 1.0)
    with pytest.raises(ValueError, match="outputs"):
        differences({}, expected)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--batch", "many"], "neither symbolic nor"),
        (["--batch", "0"], "neither symbolic nor"),
        (["--size", "32", "--height", "32"], "stands for both"),
        (["--format", "onx"], "did you mean 'onnx'"),
    ],
)
def test_flags_that_cannot_be(flags, said, tmp_path, capsys):
    assert main(["export", "--checkpoint", "runs/none", "--out", str(tmp_path / "out"), *flags]) == 2
    assert said in capsys.readouterr().err


def test_a_function_written_out_flat():
    @jax.custom_jvp
    def twice(x):
        return 2 * x

    twice.defjvps(lambda tangent, answer, x: 2 * tangent)

    def function(x):
        chosen = lax.platform_dependent(x, cpu=lambda x: x + 1, default=lambda x: jax.jit(jax.nn.relu)(x) - 1)
        running = lambda total, part: (total + twice(part), total * part)
        return {"a": twice(chosen), "b": lax.map(jnp.sin, x), "c": lax.scan(running, jnp.ones(()), x, reverse=True),
                "d": lax.map(jnp.sin, jnp.tile(x, 10))}  # fmt: skip

    x = np.linspace(-2, 2, 5, dtype=np.float32)
    flat = inlined(function, jax.ShapeDtypeStruct(x.shape, x.dtype))
    np.testing.assert_allclose(flat(x)["a"], 2 * (np.maximum(x, 0) - 1), rtol=1e-6)
    np.testing.assert_allclose(flat(x)["b"], np.sin(x), rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), flat(x)["c"], function(x)["c"])
    names = {equation.primitive.name for equation in jax.make_jaxpr(flat)(x).eqns}
    assert not names & {"jit", "pjit", "cond", "platform_index", "custom_jvp_call"}
    assert "scan" in names  # of 50 passes; those of 5 are written out


def test_a_graph_made_on_a_gpu_is_not_for_gpus_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Builds an exported network without cuDNN, where 'auto' means it."""
    monkeypatch.setitem(VITS, "vit_micro14", ViTSpec(192, 4, 3, (0, 1, 2, 3), grid=4))
    config = SemiTrainConfig(model=ModelConfig("vit_micro14", dtype="bfloat16"), hidden=8)
    shapes = jax.eval_shape(make_network(config, 2).init, jax.random.key(0), jnp.zeros((1, 28, 28, 3)))["params"]
    params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    model = Segmentation(params, config, {"classes": ["a", "b"], "mean": [0.5] * 3, "std": [0.2] * 3})
    images = jax.ShapeDtypeStruct((1, 28, 28, 3), np.uint8)
    graph = graph_of(model, 28, 28)
    traced = lambda run, *given: str(jax.make_jaxpr(run)(*given))
    assert "dot_product_attention_fwd" in traced(model.forward, model.params, images)
    assert "dot_product_attention_fwd" not in traced(graph.run, graph.weights, images)
