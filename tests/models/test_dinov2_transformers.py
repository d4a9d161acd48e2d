"""DINOv2 equals Hugging Face's, from the file that it writes through `jaxqc convert` to every feature."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.models import dinov2
from jaxqc.models.dinov2 import VITS, ViTSpec, build_vit
from jaxqc.weights.load import load_weights

torch = pytest.importorskip("torch", reason="Hugging Face's models need PyTorch (extra: peers)")
transformers = pytest.importorskip("transformers", reason="the oracle is Hugging Face's DINOv2 (extra: peers)")

PLAIN = ViTSpec(64, 5, 2, (0, 2, 3, 4), grid=9)
GATED = ViTSpec(64, 4, 2, (0, 1, 2, 3), grid=9, swiglu=True)
REGISTERS = ViTSpec(64, 4, 2, (0, 1, 2, 3), grid=9, registers=4)


def theirs(spec: ViTSpec, seed: int = 0):
    """Their model of the same sizes; kernels of variance 1 / fan-in, everything else of order one."""
    options = {
        "hidden_size": spec.width,
        "num_hidden_layers": spec.depth,
        "num_attention_heads": spec.heads,
        "image_size": 14 * spec.grid,
        "patch_size": 14,
        "use_swiglu_ffn": spec.swiglu,
    }
    if spec.registers:
        config = transformers.Dinov2WithRegistersConfig(**options, num_register_tokens=spec.registers)
        model = transformers.Dinov2WithRegistersModel(config)
    else:
        model = transformers.Dinov2Model(transformers.Dinov2Config(**options))
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in model.named_parameters():
            if name.endswith("bias") or ("embeddings" in name.rsplit(".", 2)[0] and p.ndim < 4):
                p.normal_(0, 0.3, generator=g)
            elif p.ndim == 1:
                p.uniform_(0.4, 1.2, generator=g)
            else:
                p.normal_(0, p[0].numel() ** -0.5, generator=g)
    return model.eval()


def assert_equals_theirs(name: str, height: int, width: int, tmp_path: Path, monkeypatch) -> None:
    # Hugging Face interpolates positions without the offset that the published models were made with
    # (`test_positions_equal_pytorchs_bicubic` has both).
    monkeypatch.setattr(dinov2, "OFFSET", 0.0)
    spec = VITS[name]
    model = theirs(spec)
    model.save_pretrained(tmp_path / "theirs")
    ours = tmp_path / "ours.npz"
    assert main(["convert", str(tmp_path / "theirs" / "model.safetensors"), str(ours), "--model", name]) == 0

    image = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    with torch.no_grad():
        out = model(torch.from_numpy(image).permute(0, 3, 1, 2), output_hidden_states=True)
        states = [model.layernorm(out.hidden_states[tap + 1])[:, 1 + spec.registers :].numpy() for tap in spec.taps]
    found = jax.jit(lambda variables, x: build_vit(name).apply(variables, x))(load_weights(ours).variables, image)
    for tap, state in zip(spec.taps, states, strict=True):
        expected = state.reshape(2, height // 14, width // 14, spec.width)
        assert expected.std((1, 2)).mean() > 0.1, "all places say the same: the test's signals died out"
        np.testing.assert_allclose(found[f"block{tap}"], expected, atol=1e-4, rtol=1e-4, err_msg=f"block {tap}")


@pytest.mark.parametrize(
    ("spec", "height", "width"),
    [(PLAIN, 126, 126), (PLAIN, 224, 98), (GATED, 84, 126), (REGISTERS, 126, 126), (REGISTERS, 56, 154)],
)
def test_features_equal_theirs(spec: ViTSpec, height: int, width: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(VITS, "vit_test14", spec)
    assert_equals_theirs("vit_test14", height, width, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("size", [224, 378, 518])
@pytest.mark.parametrize("name", ["dinov2_vits14", "dinov2_vits14_reg", "dinov2_vitb14", "dinov2_vitl14"])
def test_published_sizes_equal_theirs(name: str, size: int, tmp_path: Path, monkeypatch) -> None:
    assert_equals_theirs(name, size, size, tmp_path, monkeypatch)
