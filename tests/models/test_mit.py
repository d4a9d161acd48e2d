"""Mix transformers: beside Hugging Face's at random weights, under both kinds of names, and what they refuse."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.errors import UserError
from jaxqc.models import mit
from jaxqc.models.arrays import flatten
from jaxqc.models.backbones import build, family
from jaxqc.models.mit import MITS, Mit, MitSpec
from jaxqc.models.mit_names import convert_mit, export_mit, file_names
from jaxqc.weights.known import KNOWN
from jaxqc.weights.load import load_weights, save_weights

SPEC = MitSpec((16, 32, 80, 64), (1, 1, 1, 2))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MITS, "mit_small", SPEC)


def drawn(layers: tuple[int, ...] = (1, 2, 3, 4)) -> Any:
    rng = np.random.default_rng(0)
    shapes = jax.eval_shape(lambda: Mit(SPEC, layers).init(jax.random.key(0), jnp.zeros((1, 64, 64, 3))))
    return jax.tree.map(lambda x: rng.normal(size=x.shape).astype(np.float32), dict(shapes))


def test_layers_equal_hugging_faces(tmp_path: Any) -> None:
    torch = pytest.importorskip("torch", reason="the peer needs PyTorch")
    transformers = pytest.importorskip("transformers", reason="the peer needs transformers")
    from safetensors.numpy import load_file

    torch.manual_seed(0)
    sizes = {"depths": list(SPEC.depths), "hidden_sizes": list(SPEC.widths)}
    peer = transformers.SegformerModel(transformers.SegformerConfig(**sizes)).eval()
    with torch.no_grad():
        for p in peer.parameters():
            p.add_(0.1 * torch.randn_like(p))
    peer.save_pretrained(tmp_path)
    variables, report = convert_mit(load_file(tmp_path / "model.safetensors"), "mit_small")
    assert (report.unused, report.prefix) == ((), "encoder.")
    for name, module in peer.named_modules():
        if isinstance(module, torch.nn.LayerNorm) and not ("patch" in name or "reduction" in name or ".sr" in name):
            module.eps = mit.BLOCKS  # the publishers'; the port has 1e-5 for all
    x = np.random.default_rng(0).normal(size=(2, 70, 52, 3)).astype(np.float32)
    with torch.no_grad():
        states = peer(torch.from_numpy(x).permute(0, 3, 1, 2), output_hidden_states=True).hidden_states
    found = jax.jit(Mit(SPEC).apply)(variables, x)
    for i, expected in enumerate(states, start=1):
        assert expected.std() > 0.5
        np.testing.assert_allclose(found[f"layer{i}"], expected.permute(0, 2, 3, 1), atol=1e-4)


def test_names_there_and_back(tmp_path: Any) -> None:
    variables = drawn()
    published = export_mit(variables)
    assert {"patch_embed1.proj.weight", "block4.1.mlp.dwconv.dwconv.bias", "block1.0.attn.sr.weight", "norm4.bias"} <= {
        *published
    }
    assert published["block1.0.attn.q.weight"].shape == (16, 16)
    assert published["block1.0.mlp.dwconv.dwconv.weight"].shape == (64, 1, 3, 3)
    again, report = convert_mit({f"backbone.{name}": x for name, x in published.items()}, "mit_small")
    jax.tree.map(np.testing.assert_array_equal, again, variables)
    assert (report.used, report.prefix) == (len(published), "backbone.")
    ported: dict[str, np.ndarray] = {}
    for path in flatten(variables):
        whole, names = published[file_names(path)[0]], file_names(path, hugging_face=True)
        for name, part in zip(names, np.split(whole, len(names)), strict=True):
            ported[f"segformer.encoder.{name}"] = part
    jax.tree.map(np.testing.assert_array_equal, convert_mit(ported, "mit_small")[0], variables)
    np.savez(tmp_path / "whole.npz", **published)  # type: ignore[arg-type]
    save_weights(tmp_path / "own.npz", load_weights(tmp_path / "whole.npz", "mit_small"))
    own = load_weights(tmp_path / "own.npz")
    assert own.model == "mit_small"
    jax.tree.map(np.testing.assert_array_equal, own.variables, variables)


def test_parts_are_read_and_lacking_arrays_named() -> None:
    published = export_mit(drawn((1, 2)))
    variables, report = family("mit_small").convert(published, "mit_small", (1, 2))
    assert (report.layers, report.used) == ((1, 2), len(published))
    found = jax.eval_shape(build("mit_small", (2,)).apply, variables, jnp.zeros((1, 40, 33, 3)))
    assert {name: x.shape for name, x in found.items()} == {"layer2": (1, 5, 5, 32)}
    with pytest.raises(UserError, match="mit_small: the file lacks"):
        convert_mit(published, "mit_small")
    with pytest.raises(UserError, match="classifier is not built here"):
        convert_mit(published, "mit_small", head=True)
    with pytest.raises(UserError, match=r"image of 28x64: both sides must be at least 29 pixels"):
        jax.eval_shape(Mit(SPEC, (1,)).apply, variables, jnp.zeros((1, 28, 64, 3)))


def test_known_files() -> None:
    assert {name: KNOWN[name].model for name in KNOWN if name.startswith("mit_")} == {
        name: name for name in MITS if name != "mit_small"
    }
