"""DINOv2's files under both their namings → variables and back, through `jaxqc convert` and our own format."""

import json

import jax
import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.models.dinov2 import VITS, ViTSpec
from jaxqc.models.pretrained_vit import convert_vit, export_vit, file_names, vit_shapes
from jaxqc.weights.known import KNOWN
from jaxqc.weights.load import load_weights, save_weights

NAME = "vit_test14"
SPECS = {
    NAME: ViTSpec(32, 2, 2, (0, 0, 1, 1), grid=3),
    f"{NAME}_reg": ViTSpec(32, 2, 2, (0, 0, 1, 1), grid=3, registers=4, swiglu=True),
}


@pytest.fixture(autouse=True)
def small_models(monkeypatch) -> None:
    for name, spec in SPECS.items():
        monkeypatch.setitem(VITS, name, spec)


def official(model: str, seed: int = 0) -> dict[str, np.ndarray]:
    """A state dict in the publishers' names, every array drawn."""
    rng = np.random.default_rng(seed)
    variables: dict = {}
    for path, shape in vit_shapes(model).items():
        node = variables
        for step in path[:-1]:
            node = node.setdefault(step, {})
        node[path[-1]] = rng.normal(size=shape).astype(np.float32)
    return export_vit(variables)


def hugging_face(arrays: dict[str, np.ndarray], prefix: str = "") -> dict[str, np.ndarray]:
    """The same under Hugging Face's names, by a table of its own."""
    whole = {
        "cls_token": "embeddings.cls_token",
        "mask_token": "embeddings.mask_token",
        "register_tokens": "embeddings.register_tokens",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    block = {
        "attn.proj": "attention.output.dense",
        "mlp.w12": "mlp.weights_in",
        "mlp.w3": "mlp.weights_out",
        "ls1.gamma": "layer_scale1.lambda1",
        "ls2.gamma": "layer_scale2.lambda1",
    }
    out = {}
    for name, value in arrays.items():
        if name in whole:
            out[prefix + whole[name]] = value
            continue
        _, number, rest = name.split(".", 2)
        base = f"{prefix}encoder.layer.{number}."
        if rest.startswith("attn.qkv"):
            for part, third in zip(("query", "key", "value"), np.split(value, 3), strict=True):
                out[f"{base}attention.attention.{part}.{rest.rsplit('.', 1)[1]}"] = third
            continue
        for ours, theirs in block.items():
            rest = rest.replace(ours, theirs)
        out[base + rest] = value
    return out


@pytest.mark.parametrize("model", SPECS)
def test_both_namings_give_the_same_and_the_way_back_is_exact(model: str) -> None:
    arrays = official(model)
    assert {"blocks.1.attn.qkv.weight", "patch_embed.proj.bias", "blocks.0.ls2.gamma", "norm.weight"} <= set(arrays)
    assert arrays["patch_embed.proj.weight"].shape == (32, 3, 14, 14)
    assert arrays["blocks.0.attn.qkv.weight"].shape == (96, 32)
    variables, report = convert_vit(arrays, model)
    assert (report.used, report.unused, report.missing, report.layers) == (len(arrays), (), (), ())
    np.testing.assert_array_equal(
        variables["params"]["blocks_1"]["attn"]["qkv"]["kernel"], arrays["blocks.1.attn.qkv.weight"].T
    )
    np.testing.assert_array_equal(
        variables["params"]["patch_embed"]["kernel"][2, 5, 1], arrays["patch_embed.proj.weight"][:, 1, 2, 5]
    )
    for prefix in ("", "dinov2."):
        theirs = hugging_face(arrays, prefix)
        other, report = convert_vit(theirs, model)
        assert (report.used, report.unused, report.missing) == (len(theirs), (), ())
        jax.tree.map(np.testing.assert_array_equal, other, variables)
    back = export_vit(variables)
    assert set(back) == set(arrays)
    for name, value in back.items():
        np.testing.assert_array_equal(value, arrays[name])


def test_every_variable_has_a_name_of_its_own() -> None:
    for model in SPECS:
        for theirs in (False, True):
            names = [name for path in vit_shapes(model) for name in file_names(path, theirs)]
            assert len(set(names)) == len(names)


def test_what_lacks_and_what_is_left_is_told() -> None:
    arrays = official(NAME)
    wrapped = {f"module.{name}": value for name, value in arrays.items()}
    report = convert_vit({**wrapped, "head.weight": np.ones((2, 32))}, NAME)[1]
    assert report.unused == ("head.weight",)
    assert any(line.startswith("unused: 1: head.weight") for line in report.lines())
    assert "2 blocks of width 32" in report.lines()[0]

    without = {name: value for name, value in arrays.items() if name != "mask_token"}
    variables, report = convert_vit(without, NAME)
    assert report.missing == ("mask_token",)
    np.testing.assert_array_equal(variables["params"]["mask_token"], 0)

    broken = {name: value for name, value in arrays.items() if not name.startswith("blocks.1.mlp")}
    with pytest.raises(UserError, match=r"lacks 4 arrays that are needed: blocks\.1\.mlp\.fc1\."):
        convert_vit(broken, NAME)
    theirs = hugging_face(arrays)
    del theirs["encoder.layer.0.attention.attention.key.bias"]
    with pytest.raises(UserError, match=r"lacks 1 arrays .*: encoder\.layer\.0\.attention\.attention\.key\.bias$"):
        convert_vit(theirs, NAME)
    with pytest.raises(UserError, match="lacks 34 arrays"):
        convert_vit({}, NAME)


def test_files_of_other_models_are_told() -> None:
    arrays = official(NAME)
    with pytest.raises(UserError, match=rf"register tokens.*use {NAME}_reg"):
        convert_vit({**arrays, "register_tokens": np.ones((1, 4, 32))}, NAME)
    bare = {name: value for name, value in official(f"{NAME}_reg").items() if name != "register_tokens"}
    with pytest.raises(UserError, match="lacks 1 arrays that are needed: register_tokens"):
        convert_vit(bare, f"{NAME}_reg")
    with pytest.raises(UserError, match=r"pos_embed: shape \(1, 17, 32\) in the file, \(1, 10, 32\) in vit_test14"):
        convert_vit({**arrays, "pos_embed": np.ones((1, 17, 32))}, NAME)
    theirs = {**hugging_face(arrays), "encoder.layer.0.attention.attention.key.weight": np.ones((32, 31))}
    with pytest.raises(UserError, match=r"key\.weight: shape \(32, 31\) in the file, \(32, 32\)"):
        convert_vit(theirs, NAME)
    with pytest.raises(UserError, match=r"norm\.bias: holds values that are not finite"):
        convert_vit({**arrays, "norm.bias": np.full(32, np.inf)}, NAME)


@pytest.mark.parametrize("kind", ["npz", "safetensors", "pth"])
def test_convert_reads_both_kinds_and_our_own_format_keeps_them(kind: str, tmp_path, capsys) -> None:
    arrays = official(NAME)
    source, ours, again = tmp_path / f"vit.{kind}", tmp_path / "ours.npz", tmp_path / "again.npz"
    if kind == "npz":
        np.savez(source, **arrays)
    elif kind == "safetensors":
        save_file = pytest.importorskip("safetensors.numpy", reason="extra: convert").save_file
        save_file({k: np.ascontiguousarray(v) for k, v in hugging_face(arrays).items()}, source)
    else:
        torch = pytest.importorskip("torch", reason="extra: convert")
        torch.save({key: torch.from_numpy(value) for key, value in arrays.items()}, source)
    assert main(["convert", str(source), str(ours), "--model", NAME]) == 0
    assert "2 blocks of width 32" in capsys.readouterr().out
    with np.load(ours, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
        assert file["params/blocks_1/mlp/fc1/kernel"].shape == (32, 128)
    assert (meta["model"], meta["layers"], meta["source"]) == (NAME, [], source.name)
    weights = load_weights(ours)
    assert (weights.model, weights.layers, weights.source) == (NAME, (), source.name)
    jax.tree.map(np.testing.assert_array_equal, dict(weights.variables), convert_vit(arrays, NAME)[0])
    save_weights(again, weights)
    jax.tree.map(np.testing.assert_array_equal, load_weights(again).variables, weights.variables)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", NAME, "--layers", "1"], "is read whole; layers and head are of ResNets"),
        (["--model", NAME, "--head"], "is read whole"),
        (["--model", "dinov2_vits41"], "did you mean 'dinov2_vits14'"),
        (["--model", "resnet18"], "lacks"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], message: str, tmp_path, capsys) -> None:
    np.savez(tmp_path / "vit.npz", **official(NAME))
    assert main(["convert", str(tmp_path / "vit.npz"), str(tmp_path / "out.npz"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_known_files_are_those_of_the_publishers_hub() -> None:
    files = {name: entry for name, entry in KNOWN.items() if name.startswith("dinov2_")}
    assert set(files) == {name for name in VITS if name.startswith("dinov2_")}
    for name, entry in files.items():
        base = name.removesuffix("_reg")
        assert entry.model == name
        assert entry.url == f"https://dl.fbaipublicfiles.com/dinov2/{base}/{entry.file}"
        assert (entry.licence, entry.digest, entry.direct) == ("Apache-2.0", "", True)
    assert files["dinov2_vits14"].file == "dinov2_vits14_pretrain.pth"
    assert files["dinov2_vitg14_reg"].file == "dinov2_vitg14_reg4_pretrain.pth"
