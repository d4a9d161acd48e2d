"""CLIP's towers beside Hugging Face's at random weights: features of places, the text's embedding, and names."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the peer needs PyTorch")
pytest.importorskip("transformers", reason="the peer needs transformers")

from transformers.models.clip.configuration_clip import CLIPConfig
from transformers.models.clip.modeling_clip import CLIPModel

from jaxqc.models import clip
from jaxqc.models.clip import ClipSpec, ClipText, ClipVision
from jaxqc.models.pretrained_clip import convert_clip, export_clip

SPEC = ClipSpec(64, 3, 2, 8, 4, 32, (0, 1), 48, 3, 2, 12, 100)


@pytest.fixture(scope="module")
def peer() -> Any:
    torch.manual_seed(0)
    both = {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5}
    vision = {"hidden_size": 64, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 2,
              "image_size": 32, "patch_size": 8, **both}  # fmt: skip
    text = {"hidden_size": 48, "intermediate_size": 192, "num_hidden_layers": 2, "num_attention_heads": 3,
            "max_position_embeddings": 12, "vocab_size": 100, "eos_token_id": 99, **both}  # fmt: skip
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=32)).eval()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clip.CLIPS, "small", SPEC)


def state(peer: Any) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in peer.state_dict().items()}


@pytest.mark.parametrize("side", [32, 48])
def test_features_of_places(peer: Any, side: int, rng: np.random.Generator) -> None:
    variables, report = convert_clip(state(peer), "small")
    image = rng.normal(size=(2, side, side, 3)).astype(np.float32)
    found = jax.jit(ClipVision(SPEC).apply)(variables, image)
    assert any(name.startswith("text_model") for name in report.unused)
    vision, grid = peer.vision_model, side // 8
    with torch.no_grad():
        x = torch.from_numpy(image).permute(0, 3, 1, 2)
        if side == 32:
            hidden = vision(x, output_hidden_states=True).hidden_states
        else:
            tokens = vision.embeddings.patch_embedding(x).flatten(2).transpose(1, 2)
            table = vision.embeddings.position_embedding.weight
            own = table[1:].reshape(1, 4, 4, 64).permute(0, 3, 1, 2)
            own = torch.nn.functional.interpolate(own, (grid, grid), mode="bicubic", align_corners=False)
            first = (vision.embeddings.class_embedding + table[0]).expand(2, 1, -1)
            x = torch.cat([first, tokens + own.permute(0, 2, 3, 1).reshape(1, -1, 64)], 1)
            hidden = [vision.pre_layrnorm(x)]
            for layer in vision.encoder.layers:
                out = layer(hidden[-1], attention_mask=None)
                hidden.append(out[0] if isinstance(out, tuple) else out)
        last = vision.encoder.layers[-1]
        y = hidden[-2]
        y = y + last.self_attn.out_proj(last.self_attn.v_proj(last.layer_norm1(y)))
        y = vision.post_layernorm(y + last.mlp(last.layer_norm2(y)))[:, 1:]
        dense = torch.nn.functional.normalize(peer.visual_projection(y), dim=-1)
    place = lambda x: np.asarray(x).reshape(2, grid, grid, -1)
    for i in SPEC.taps:
        np.testing.assert_allclose(found[f"block{i}"], place(hidden[i + 1][:, 1:]), atol=1e-4)
    np.testing.assert_allclose(found["dense"], place(dense), atol=1e-4)


def test_the_texts_embedding(peer: Any, rng: np.random.Generator) -> None:
    variables, _ = convert_clip(state(peer), "small", text=True)
    tokens = rng.integers(1, 98, (3, 12))
    tokens[0, 5:], tokens[0, 5], tokens[1, -1], tokens[2, 3] = 0, 99, 99, 99
    found = jax.jit(ClipText(SPEC).apply)(variables, jnp.asarray(tokens, jnp.int32))
    with torch.no_grad():
        states = peer.text_model(torch.from_numpy(tokens)).last_hidden_state
        at = states[torch.arange(3), torch.from_numpy(tokens).argmax(-1)]
        expected = torch.nn.functional.normalize(peer.text_projection(at), dim=-1)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-4)


def test_publishers_names_there_and_back(peer: Any) -> None:
    variables, _ = convert_clip(state(peer), "small")
    again, report = convert_clip(export_clip(variables), "small")
    assert report.prefix == "visual."
    jax.tree.map(np.testing.assert_array_equal, again, variables)
