"""SemiVL: its decoder and loss beside PyTorch's and plain numpy, phrases from files, and what stays as it is."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.config import ModelConfig, Phase
from jaxqc.errors import UserError
from jaxqc.models import clip
from jaxqc.models.clip import CLIP_MEAN, ClipSpec, ClipVision
from jaxqc.models.language_decoder import LanguageDecoder, guide_logits
from jaxqc.models.pretrained_clip import convert_clip, export_clip
from jaxqc.models.segmenter import build_language_segmenter, build_segmenter, encoder_spec
from jaxqc.semi import language, objective
from jaxqc.semi.frozen import Frozen
from jaxqc.semi.manifest import Manifest
from jaxqc.semi.model import load_segmentation
from jaxqc.semi.network import halves_of
from jaxqc.semi.recipe import LanguageConfig, preset
from jaxqc.semi.setting import Setting
from jaxqc.semi.train import make_method, train_semi
from jaxqc.training.logs import read_rows
from jaxqc.weights.load import Weights, save_weights
from tests.semi.test_objective import (
    NETWORK,
    QUICK,
    K,
    S,
    U,
    batch_of,
    decode,
    dropout_masks,
    encode,
    entropy,
    network_params,
    softmax,
)
from tests.support.few_labels import CLASSES, recipe, write_images

SPEC = ClipSpec(64, 2, 2, 4, 7, 32, (0, 1))
SIDE = 28


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clip.CLIPS, "clip_small", SPEC)


def phrases_file(path: Path, classes: Any = CLASSES, length: int = 32) -> Path:
    values = np.linalg.qr(np.random.default_rng(0).normal(size=(length, len(classes) + 1)))[0].T
    names = [*(f"a photo of a {c}" for c in classes), "a dark hole"]
    np.savez(path, values=values, names=names, class_of=[*classes, classes[-1]])
    return path


def clip_file(path: Path) -> Path:
    params = jax.jit(ClipVision(SPEC).init)(jax.random.key(0), jnp.ones((1, SIDE, SIDE, 3)))
    variables, report = convert_clip(export_clip(jax.device_get(params)), "clip_small")
    save_weights(path, Weights("clip_small", (), variables, report, "drawn", "0" * 64))
    return path


def semivl(folder: Path, guide: bool = False, **changes: Any) -> Any:
    words, weights = phrases_file(folder / "words.npz"), clip_file(folder / "clip.npz")
    chosen = LanguageConfig(decoder=True, embeddings=str(words), guide=str(weights) if guide else "")
    config = recipe(
        "semivl", phases=(Phase(1, SIDE, 2),), model=ModelConfig("clip_small"), weights=str(weights), **changes
    )
    return dataclasses.replace(config, semi=preset("semivl", language=chosen))


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_run_brings_its_words_and_keeps_what_stays(tmp_path: Path) -> None:
    """A network loads without the files; MLPs, norms and words are those of the start, attention is not."""
    data = write_images(tmp_path / "few", {"labeled": 2, "unlabeled": 2, "select": 1, "val": 1})
    said: list[str] = []
    (tmp_path / "in").mkdir()
    config = semivl(tmp_path / "in", guide=True)
    train_semi(config, data, tmp_path / "run", progress=False, note=said.append)
    assert any(line.startswith("guide: ") and "certain pixels" in line for line in said)
    method = make_method(config, Manifest(CLASSES), None, None)
    for file in ("words.npz", "clip.npz"):
        (tmp_path / "in" / file).unlink()
    model = load_segmentation(tmp_path / "run", "last")
    assert tuple(model.meta["mean"]) == CLIP_MEAN
    with np.load(tmp_path / "run" / "golden.npz") as golden:
        assert np.mean(model.predict(golden["image"]) == golden["map"].argmax(-1)) > 0.99
    assert method.guide is not None
    start, end = method.guide.params, jax.device_get(model.params["encoder"])
    np.testing.assert_array_equal(end["blocks_0"]["c_fc"]["kernel"], start["blocks_0"]["c_fc"]["kernel"])
    np.testing.assert_array_equal(end["ln_post"]["scale"], start["ln_post"]["scale"])
    assert np.abs(end["blocks_0"]["qkv"]["kernel"] - start["blocks_0"]["qkv"]["kernel"]).max() > 0
    assert np.abs(end["positional_embedding"] - start["positional_embedding"]).max() > 0
    assert "loss_u" in read_rows(tmp_path / "run" / "metrics.jsonl")[0]


@pytest.mark.usefixtures("small")
def test_no_file_no_method(tmp_path: Path) -> None:
    config, manifest = semivl(tmp_path), Manifest(CLASSES)
    bare = dataclasses.replace(config, semi=preset("semivl"))
    with pytest.raises(UserError, match="no file of the classes' phrases, without which there is no SemiVL"):
        make_method(bare, manifest)
    with pytest.raises(UserError, match="SemiVL starts from CLIP's"):
        make_method(dataclasses.replace(config, weights=""), manifest)
    with pytest.raises(UserError, match=r"has no words; with semi\.language\.decoder take"):
        make_method(dataclasses.replace(config, model=ModelConfig("resnet18")), manifest)
    with pytest.raises(UserError, match="has a decoder of phrases alone"):
        build_segmenter("clip_small", 3)
    with pytest.raises(UserError, match=r"no phrase for class 'brigt'.*bright"):
        make_method(config, Manifest(("background", "brigt")))
    np.savez(tmp_path / "words.npz", values=np.ones((3, 5)), names=list(CLASSES))
    with pytest.raises(UserError, match=r"values \(3, 5\) for 3 phrases of length 32"):
        make_method(config, manifest)
    for content in (b"PK\x03\x04 and no more", b"", (tmp_path / "words.npz").read_bytes()[:-40]):
        (tmp_path / "words.npz").write_bytes(content)
        with pytest.raises(UserError, match=r"embeddings: .*words\.npz: cannot be read .*; give an \.npz"):
            make_method(config, manifest)
    with (tmp_path / "words.npz").open("wb") as file:  # an array alone, as SemiVL's authors have them
        np.save(file, np.ones((3, 32)))
    with pytest.raises(UserError, match=r"embeddings: .*words\.npz: cannot be read .*; give an \.npz"):
        make_method(config, manifest)
    with pytest.raises(UserError, match="layers=3: clip_small takes 4"):
        encoder_spec("clip_small", 3)
    with pytest.raises(UserError, match="needs embeddings of phrases"):
        preset("semivl", language=LanguageConfig(decoder=True, guide="clip.npz"))


@pytest.mark.usefixtures("small")
def test_logits_may_have_the_heads_own_size() -> None:
    """As `chunk` asks for them; four places for each of the encoder's, along both sides."""
    network = build_language_segmenter("clip_small", 3, "float32", np.eye(3, 32, dtype=np.float32), np.arange(3))
    image = jnp.zeros((1, 2 * SIDE, SIDE, 3))

    def logits(size: tuple[int, int] | None) -> jax.Array:
        variables = network.init(jax.random.key(0), image)
        return network.apply(variables, network.apply(variables, image, method="encode"), size, method="decode")

    assert jax.eval_shape(lambda: logits(None)).shape == (1, 2 * SIDE, SIDE, 3)
    assert jax.eval_shape(lambda: logits((50, 60))).shape == (1, 50, 60, 3)
    halves = halves_of(network)
    params = jax.eval_shape(lambda: network.init(jax.random.key(0), image))["params"]
    own = lambda params: halves.decode(params, halves.encode(params, image), None)
    assert jax.eval_shape(own, params).shape == (1, 2 * SIDE, SIDE, 3)


def test_the_guide_is_the_nearest_phrase(rng: np.random.Generator) -> None:
    dense, words = rng.normal(size=(1, 2, 3, 4)), rng.normal(size=(3, 4))
    owner = np.eye(2)[[0, 1, 1]]
    found = np.asarray(guide_logits(jnp.asarray(dense), jnp.asarray(words), jnp.asarray(owner)))
    each = 100 * dense @ words.T
    np.testing.assert_allclose(found, np.stack([each[..., 0], each[..., 1:].max(-1)], -1), rtol=1e-5)


@pytest.mark.parametrize("step", [0, 25, 100])
def test_the_guides_loss_falls_to_nothing(step: int, rng: np.random.Generator) -> None:
    """λ (1 − t) (¼ M1 + ¼ M2 + ½ M_fp), each over all pixels, beside UniMatch V1's loss."""
    config = preset("semivl", language=LanguageConfig(decoder=True, embeddings="words", guide="clip"))
    batch, student = batch_of(config, rng), network_params(rng)
    batch["valid"] = np.ones_like(batch["valid"])
    seen = jax.tree.map(jnp.asarray, batch)
    guide = 3 * rng.normal(size=(U, S, S, K)).astype(np.float32)
    key, frozen = jax.random.key(0), Frozen(None, None, jnp.int32(step))
    setting = Setting(config, NETWORK, total_steps=100)
    run = jax.jit(lambda s, b, g: objective.semi_loss(setting, s, frozen, b, key, g), compiler_options=QUICK)
    loss, (logs, _) = run(student, seen, guide)
    plain = objective.semi_loss(Setting(preset("unimatch_v1"), NETWORK), student, Frozen(), seen, key)[0]
    p = softmax(guide)
    label, kept = p.argmax(-1), (p.max(-1) > 0.9).astype(float)
    assert 0.1 < kept.mean() < 0.9
    total = 0.0
    for i in range(2):
        inside = batch["inside"][i]
        mixed = [np.where(inside, x[::-1], x) for x in (label, kept)]
        ce = entropy(decode(student, encode(student, batch["strong"][i]), (S, S)), mixed[0])
        total += 0.25 * (ce * mixed[1]).sum() / ce.size
    masks = dropout_masks(config, key)["weak"]
    features = encode(student, batch["weak"])
    features = {
        "map": features["map"] * masks["map"][:, None, None],
        "tokens": features["tokens"] * masks["tokens"][:, None],
    }
    ce = entropy(decode(student, features, (S, S)), label)
    total += 0.5 * (ce * kept).sum() / ce.size
    assert float(logs["loss_guide"]) == pytest.approx(total, rel=1e-4)
    assert float(loss) == pytest.approx(float(plain) + 0.1 * (1 - step / 100) * total, rel=1e-4)


def test_the_decoder_has_its_parameters_whatever_the_phrases() -> None:
    for count in (2, 7):
        decoder = LanguageDecoder(2, np.ones((count, 512), np.float32), np.arange(count) % 2)
        features = {
            "block0": jnp.ones((1, 4, 4, 768)),
            "block4": jnp.ones((1, 4, 4, 768)),
            "dense": jnp.ones((1, 4, 4, 512)),
        }
        params = jax.eval_shape(decoder.init, jax.random.key(0), features)["params"]
        assert (
            sum(x.size for name, part in params.items() if name != "text" for x in jax.tree.leaves(part)) == 2_217_185
        )


def test_precision_of_a_guide() -> None:
    ignored = np.full((2, 2), 255)
    assert language.precision([np.zeros((2, 2))], [np.ones((2, 2))], [ignored]) == (0.0, 0)
