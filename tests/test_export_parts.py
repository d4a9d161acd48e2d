"""What an export is made of and needs no export to test: parity, flags, a function written out flat."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxqc.cli import main
from jaxqc.export.inline import inlined
from jaxqc.export.parity import differences, outside


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
