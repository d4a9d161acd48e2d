"""Weight files of every kind → variables, our own format, and the real files at hand."""

import json
import pickle
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.cli import main
from jaxqc.errors import UserError
from jaxqc.models.pretrained import convert_state
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD, build_backbone
from jaxqc.weights.files import read_arrays, write_own
from jaxqc.weights.load import load_weights, save_weights
from tests.conftest import SHARED
from tests.support.resnet_states import whole  # noqa: F401 - a fixture


@pytest.mark.parametrize("kind", ["npz", "safetensors", "safetensors-half", "pth", "pth-wrapped"])
def test_every_kind_of_file_reads_the_same(kind, whole, tmp_path) -> None:
    arrays = {key: value for key, value in whole.items() if not key.startswith(("layer2", "layer3", "layer4", "fc"))}
    path, tolerance = tmp_path / f"part.{kind.split('-')[0]}", 0.0
    if kind == "npz":
        np.savez(path, **arrays)
    elif kind.startswith("safetensors"):
        save_file = pytest.importorskip("safetensors.numpy", reason="extra: convert").save_file
        half = kind.endswith("half")
        tolerance = 0.01 if half else 0.0
        save_file({k: v.astype(jnp.bfloat16 if half else v.dtype) for k, v in arrays.items()}, path)
    else:
        torch = pytest.importorskip("torch", reason="extra: convert")
        tensors = {key: torch.from_numpy(value) for key, value in arrays.items()}
        wrapped = {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in tensors.items()}, "optimizer": {"lr": 0.1}}
        torch.save(wrapped if kind.endswith("wrapped") else tensors, path)
    weights = load_weights(path, "resnet18")
    assert weights.layers == (1,)
    assert len(weights.sha256) == 64
    expected = convert_state(arrays, "resnet18")[0]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=tolerance), dict(weights.variables), expected)


class Trap:
    """A pickle that would leave a trace if it were ever executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return (Path.touch, (self.path,))


def test_no_pickle_is_executed_and_damaged_files_are_told(tmp_path) -> None:
    torch = pytest.importorskip("torch", reason="extra: convert")
    trace = tmp_path / "executed"
    torch.save({"conv1.weight": Trap(trace)}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(Trap(trace)))
    np.savez(tmp_path / "c.npz", **{"conv1.weight": np.array([Trap(trace)], object)})
    for name, message in (("a.pth", "never executed"), ("b.pth", "never executed|not a sound"), ("c.npz", "plain")):
        with pytest.raises(UserError, match=message):
            read_arrays(tmp_path / name)
    assert not trace.exists()
    for kind in ("npz", "safetensors", "pth"):
        (tmp_path / f"d.{kind}").write_bytes(b"not weights")
        with pytest.raises(UserError, match=rf"d\.{kind}: (not a sound|holds more)"):
            read_arrays(tmp_path / f"d.{kind}")
    torch.save({"lr": 0.1}, tmp_path / "e.pth")
    with pytest.raises(UserError, match="no state dict"):
        read_arrays(tmp_path / "e.pth")
    with pytest.raises(UserError, match=r"kind '\.h5' is not one of \.npz"):
        read_arrays(tmp_path / "f.h5")


@pytest.mark.parametrize(("kind", "library"), [("pth", "torch"), ("safetensors", "safetensors")])
def test_a_missing_library_names_the_extra(kind, library, tmp_path, monkeypatch) -> None:
    (tmp_path / f"a.{kind}").write_bytes(b"")
    for name in [n for n in sys.modules if n.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(UserError, match=r"jaxqc\[convert\]"):
        read_arrays(tmp_path / f"a.{kind}")


def test_our_own_format_keeps_variables_and_origin(whole, tmp_path, capsys) -> None:
    source, ours, again = tmp_path / "resnet.npz", tmp_path / "ours.npz", tmp_path / "again.npz"
    np.savez(source, **whole)
    assert main(["convert", str(source), str(ours), "--model", "resnet18", "--layers", "1,2"]) == 0
    shown = capsys.readouterr().out
    assert "resnet18: 50 arrays read: stem, layers 1,2" in shown
    assert "not asked for: 52: " in shown
    with np.load(ours, allow_pickle=False) as file:
        meta = json.loads(str(file["meta"]))
        assert file["params/layer2_0/downsample/kernel"].shape == (64, 128)
    first = load_weights(source, "resnet18", (1, 2))
    assert (meta["model"], meta["layers"], meta["source"], meta["classes"]) == ("resnet18", [1, 2], "resnet.npz", 0)
    assert meta["sha256"] == first.sha256
    second = load_weights(ours)
    assert (second.model, second.layers, second.sha256, second.source) == (
        "resnet18",
        (1, 2),
        first.sha256,
        "resnet.npz",
    )
    jax.tree.map(np.testing.assert_array_equal, second.variables, first.variables)
    # A trained strength of gates is ours alone, and survives.
    gated = load_weights(ours, "resnet18_cbam", (1,))
    gated.variables["params"]["layer1_1"]["cbam"]["strength"][:] = (0.25, 0.5)
    save_weights(again, gated)
    back = load_weights(again)
    np.testing.assert_array_equal(back.variables["params"]["layer1_1"]["cbam"]["strength"], [0.25, 0.5])
    np.testing.assert_array_equal(back.variables["params"]["layer1_0"]["cbam"]["strength"], [0, 0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["in.npz", "out.npz"], "in.npz: tells no model"),
        (["in.npz", "out.npz", "--model", "resnet19"], "did you mean 'resnet18'"),
        (["in.npz", "out.npz", "--model", "resnet18", "--layers", "1;2"], "--layers: '1;2'"),
        (["in.npz", "out.npz", "--model", "resnet18", "--layers", "5"], "layers: 5; choose"),
        (["in.npz", "out.pth", "--model", "resnet18"], "out.pth: our own format ends in .npz"),
        (["in.npz", "in.npz", "--model", "resnet18"], "in.npz: would replace its source"),
        (["nowhere.npz", "out.npz"], "nowhere.npz: no such file, nor a known one"),
        (["resnet3", "out.npz"], "did you mean 'resnet34'"),
        (["resnet34", "out.npz"], "weights 'resnet34' are not here: jaxqc weights resnet34, or fetch https://"),
        (["foreign.npz", "out.npz"], "foreign.npz: format 'x', not"),
    ],
)
def test_convert_names_mistakes(arguments, message, whole, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.savez("in.npz", **whole)
    np.savez("foreign.npz", meta=np.array('{"format": "x"}'), **whole)
    assert main(["convert", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("out.npz").exists()


REAL = {
    "resnet18": ("resnet18/resnet18_imagenet1k_v1_bnfused_stem_to_layer3.npz", (1, 2, 3)),
    "resnet50": ("resnet50/resnet50_imagenet1k_v1_stem_to_layer2.npz", (1, 2)),
}


@pytest.mark.parametrize("name", REAL)
def test_the_real_files_give_features_of_trained_networks(name) -> None:
    """Trained features tell an edge from flat ground; random weights of these sizes do not pass."""
    file, layers = REAL[name]
    path = SHARED / "weights" / file
    if not path.is_file():
        pytest.skip(f"real weights absent: {path}")
    weights = load_weights(path, name)
    assert weights.layers == layers
    assert (weights.report.unused, weights.report.missing) == ((), ())
    image = np.full((1, 128, 128, 3), 0.5, np.float32)
    image[:, 40:88, 40:88] = 0.9
    x = (image - np.array(IMAGENET_MEAN)) / np.array(IMAGENET_STD)
    out = jax.jit(build_backbone(name, layers, folded=True).apply)(weights.folded(), x.astype(np.float32))
    for key, value in out.items():
        value = np.asarray(value[0])
        assert np.isfinite(value).all()
        assert 0.05 < value.std() < 5
        step = 2 ** (int(key[-1]) + 1)
        edge, flat = value[64 // step, 40 // step], value[20 // step, 64 // step]
        assert np.linalg.norm(edge - flat) > 0.2 * np.linalg.norm(flat), key
    with pytest.raises(UserError, match=f"layer{layers[-1] + 1}"):
        load_weights(path, name, (layers[-1] + 1,))


def test_the_encoder_is_where_most_of_the_model_stands(whole, tmp_path, capsys) -> None:
    """A stray conv1 decides nothing, of two encoders the report names the other, and alike ones are refused."""
    layer = {key: value for key, value in whole.items() if key.startswith(("conv1", "bn1", "layer1"))}
    plain = convert_state(layer, "resnet18", layers=(1,))[0]
    below = lambda prefix, arrays: {f"{prefix}.{key}": value for key, value in arrays.items()}
    heads = below("backbone", layer) | {"head.conv1.weight": np.zeros((4, 4, 3, 3), np.float32)}
    variables, report = convert_state(heads, "resnet18")
    jax.tree.map(np.testing.assert_array_equal, variables, plain)
    assert (report.prefix, report.unused, report.others) == ("backbone.", ("head.conv1.weight",), ())
    assert report.lines()[0].startswith("resnet18: 25 arrays read below 'backbone.': stem")

    teacher = {key: value + 1 for key, value in layer.items()}
    np.savez(tmp_path / "two.npz", **below("student", layer), **below("teacher", teacher))
    convert = ["convert", str(tmp_path / "two.npz"), str(tmp_path / "o.npz"), "--model", "resnet18"]
    assert main(convert) == 2
    assert "below 'student.', 'teacher.'; choose one: jaxqc convert FILE OUT --prefix" in capsys.readouterr().err
    assert main([*convert, "--prefix", "teacher"]) == 0
    shown = capsys.readouterr().out
    assert "another encoder of the file, not read: 25 arrays below 'student.'" in shown
    kernel = load_weights(tmp_path / "o.npz").variables["params"]["conv1"]["kernel"]
    np.testing.assert_array_equal(kernel, teacher["conv1.weight"].transpose(2, 3, 1, 0))
    assert main([*convert, "--prefix", "ema"]) == 2
    assert "no array of resnet18 stands below it; prefixes that fit: 'student.', 'teacher.'" in capsys.readouterr().err
    assert convert_state(below("a", layer) | below("b", layer), "resnet18")[1].prefix == "a."
    short = {key: value for key, value in teacher.items() if key != "bn1.bias"}
    assert convert_state(below("a", short) | below("b", layer), "resnet18")[1].others == (("a.", 24),)


def test_a_full_disk_is_a_line_with_the_file(tmp_path, monkeypatch):
    def full(*args: object, **arrays: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("jaxqc.weights.files.np.savez", full)
    with pytest.raises(UserError, match=r"own\.npz: cannot be written \(No space left on device\); make room there"):
        write_own(tmp_path / "own.npz", {"kernel": np.ones(2, np.float32)}, {})
    assert not list(tmp_path.iterdir())
