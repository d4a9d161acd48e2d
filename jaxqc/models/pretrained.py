"""ResNets under the names of torchvision, timm and the authors' CBAM code → our variables, with a report, and back.

Every variable of ours has exactly one name there (`torch_name`). A name beyond those is listed, never dropped silently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxqc.errors import UserError
from jaxqc.models.arrays import (
    FIELDS,
    Arrays,
    Path,
    counted_out,
    fitted,
    flatten,
    listed,
    put,
    refuse_lacking,
    variable_shapes,
)
from jaxqc.models.prefix import Shape, find_encoder
from jaxqc.models.resnet import LAYERS, backbone_spec, build_backbone, checked_layers
from jaxqc.types import Variables

_CBAM = {"squeeze": "ChannelGate.mlp.1", "excite": "ChannelGate.mlp.3", "spatial": "SpatialGate.spatial.conv"}
_STEM = {"stem0": ("conv1.0", "conv1.1"), "stem1": ("conv1.3", "conv1.4"), "stem2": ("conv1.6", "bn1")}
"""Units of a deep stem: the convolution's name, and its batch norm's."""
_NEUTRAL = {"scale": 1.0, "mean": 0.0, "var": np.float32(1) - np.float32(1e-5)}
"""A batch norm that only adds its bias: var + eps is exactly 1 in float32."""


@dataclass(frozen=True)
class LoadReport:
    """A file's arrays by what became of them; the names are the file's."""

    model: str
    layers: tuple[int, ...]
    used: int
    unused: tuple[str, ...] = ()
    """Names that the model has no place for."""
    missing: tuple[str, ...] = ()
    """Arrays lacking in the first layer that is only partly there (such a layer is left out)."""
    beyond: tuple[str, ...] = ()
    """Names of the model that were not asked for."""
    folded: bool = False
    """Batch norm was inside the convolutions already; ours is neutral."""
    identity: bool = False
    """The model has CBAM and the file no gates: they start as exact identity."""
    classes: int = 0
    """Classes of the classifier head; 0 = left out."""
    parts: str = ""
    """The parts read, in words; "" = stem, layers and head of a ResNet."""
    prefix: str = ""
    """Beginning of the names that were read, which all other names here are without; those outside keep theirs."""
    others: tuple[tuple[str, int], ...] = ()
    """Prefixes of further encoders in the file, and how many of their arrays would fit."""

    def lines(self) -> list[str]:
        """For people to read."""
        layers = ",".join(map(str, self.layers)) or "none"
        head = f", a head of {self.classes} classes" if self.classes else ""
        below = f" below {self.prefix!r}" if self.prefix else ""
        text = [f"{self.model}: {self.used} arrays read{below}: {self.parts or f'stem, layers {layers}{head}'}"]
        for prefix, n in self.others:
            text.append(f"another encoder of the file, not read: {n} arrays below {prefix!r} (--prefix chooses)")
        if self.folded:
            text.append("batch norm was folded into the convolutions already; ours is neutral")
        if self.identity:
            text.append("the file has no CBAM gates: they start as exact identity")
        for what, keys in (("missing", self.missing), ("unused", self.unused), ("not asked for", self.beyond)):
            if keys:
                text.append(f"{what}: {len(keys)}: {listed(keys)}")
        return text


def torch_name(path: Path) -> str:
    """The state dict's name of a variable; ours alone is the strength of gates, `….cbam.strength`.

    Examples:
      >>> torch_name(("params", "layer1_0", "conv2", "bn", "scale"))
      'layer1.0.bn2.weight'
    """
    *modules, last = path[1:]
    if unit := _STEM.get(modules[0]):
        return f"{unit[modules[-1] == 'bn']}.{FIELDS[last]}"
    if last == "strength":
        return f"{modules[0].replace('_', '.')}.cbam.strength"
    bn = modules[-1] == "bn"
    *block, unit = modules[:-1] if bn else modules
    if "cbam" in block or unit in _CBAM:
        block, name = block[:1], f"cbam.{_CBAM[unit]}"
        name = name.removesuffix("conv") + "bn" if bn else name
    elif unit == "downsample":
        name = f"downsample.{int(bn)}"
    else:
        name = unit.replace("conv", "bn") if bn else unit
    return ".".join([*(b.replace("_", ".") for b in block), name, FIELDS[last]])


def to_torch(path: Path, value: np.ndarray) -> np.ndarray:
    """A variable in a state dict's layout: HWIO → OIHW, a 1x1 kernel [i o] → [o i 1 1], a linear one [i o] → [o i].

    Examples:
      >>> to_torch(("params", "conv1", "kernel"), np.zeros((7, 7, 3, 64))).shape
      (64, 3, 7, 7)
    """
    if path[-1] != "kernel":
        return value
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    linear = path[-2] in ("fc", "squeeze", "excite")
    return value.T if linear else value.T[:, :, None, None]


def export_state(variables: Variables) -> dict[str, np.ndarray]:
    """`{"params", "batch_stats"}` of a ResNet → state dict, inverse of `convert_state`.

    Examples:
      >>> {name: value.shape for name, value in export_state({"params": {"fc": {"kernel": np.zeros((8, 2))}}}).items()}
      {'fc.weight': (2, 8)}
    """
    flat = flatten(variables)
    return {torch_name(path): np.ascontiguousarray(to_torch(path, value)) for path, value in flat.items()}


def convert_state(
    arrays: Arrays,
    model: str,
    layers: Sequence[int] | None = None,
    head: bool = False,
    seed: int = 0,
    prefix: str | None = None,
) -> tuple[dict[str, Any], LoadReport]:
    """A state dict of numpy arrays → float32 `{"params", "batch_stats"}` of `build_backbone(model, layers)`, a report.

    Args:
      arrays: the names needed may have a prefix (`module.`, `backbone.`), and others stand beside them. Where a
        convolution has a bias and no batch norm, batch norm was folded into it, and ours becomes neutral.
      layers: those that are needed; the file must be whole up to the deepest. None: all that is whole, from the first.
      head: the classifier and all four layers are needed too.
      seed: for the weights behind CBAM gates that the file does not bring. Their strength is 0, so that they say
        nothing until they are trained.
      prefix: of the encoder's names; None = the one below which most of what is needed stands.

    Raises:
      UserError: an array that is needed lacks, or has another shape, or is not finite; the file brings CBAM gates,
        for which `model` has no place; or two encoders fit alike.

    Examples:
      >>> drawn = {}
      >>> for path, shape in variable_shapes(build_backbone("resnet18", (1,))).items():
      ...     put(drawn, path, np.ones(shape, np.float32))
      >>> variables, report = convert_state(export_state(drawn), "resnet18", layers=(1,))
      >>> sorted(variables["params"]), report.unused
      (['conv1', 'layer1_0', 'layer1_1'], ())
    """
    spec = backbone_spec(model)
    shapes, arrays = variable_shapes(build_backbone(model, LAYERS, 1)), counted_out(arrays)
    place = find_encoder(arrays, [_wanted(shapes)], model, prefix)
    arrays, outside = place.split(arrays)
    gates = any(".cbam." in name for name in arrays)
    if gates and not spec.cbam:
        raise UserError(f"{model}: the file holds CBAM gates, without which the network is another; use {model}_cbam")
    classes = int(np.shape(arrays["fc.weight"])[0]) if "fc.weight" in arrays else 0
    shapes = {path: (*shape[:-1], classes or 1) if _layer(path) == 5 else shape for path, shape in shapes.items()}
    needs = {path: _needed(path, arrays, gates) for path in shapes}
    lacks = {path: name for path, name in needs.items() if name and name not in arrays}
    missing: list[str] = []
    if layers is None:
        whole = min((_layer(path) for path in lacks if _layer(path) <= 4), default=5) - 1
        missing = [name for path, name in lacks.items() if _layer(path) == whole + 1]
        if len(missing) == sum(bool(name) for path, name in needs.items() if _layer(path) == whole + 1):
            missing = []  # all of that layer is absent: the file ends there
        chosen = tuple(range(1, whole + 1))
    else:
        chosen = checked_layers(layers, int(head))
    deepest = 5 if head else max(chosen, default=1)
    refuse_lacking(model, [name for path, name in lacks.items() if _layer(path) <= deepest], place.prefix)
    rng, used = np.random.default_rng(seed), set()
    variables: dict[str, Any] = {}
    for path, shape in shapes.items():
        if _layer(path) > deepest:
            continue
        name = needs[path]
        if name:
            used.add(name)
            value = _fitted(model, name, np.asarray(arrays[name]), path, shape)
        else:
            value = _start(path, shape, gates, rng)
        put(variables, path, value)
    known = {torch_name(path) for path in shapes} | {_conv(path) + ".bias" for path in shapes if "bn" in path}
    left = [name for name in arrays if name not in used]
    report = LoadReport(
        model=model,
        layers=chosen,
        used=len(used),
        unused=(*(name for name in left if name not in known), *outside),
        missing=tuple(missing),
        beyond=tuple(name for name in left if name in known),
        folded=any("bn" in path and needs[path] == _conv(path) + ".bias" for path in shapes),
        identity=spec.cbam and not gates,
        classes=classes if head else 0,
        prefix=place.prefix,
        others=place.others,
    )
    return variables, report


def _wanted(shapes: Mapping[Path, tuple[int, ...]]) -> dict[str, Shape]:
    """Names and shapes of a model's arrays in a file, with batch norm or with it folded; the head of any width."""
    names: dict[str, Shape] = {f"{_conv(path)}.bias": shape for path, shape in shapes.items() if "bn" in path}
    for path, shape in shapes.items():
        names[torch_name(path)] = None if _layer(path) == 5 else to_torch(path, np.empty(shape, np.bool_)).shape
    return names


def _layer(path: Path) -> int:
    """0 = stem, 1..4, 5 = head."""
    return 5 if path[1] == "fc" else int(path[1][5]) if path[1].startswith("layer") else 0


def _conv(path: Path) -> str:
    """The name of the convolution before a batch norm's variable, without its last step."""
    return torch_name((*path[: path.index("bn")], "kernel")).removesuffix(".weight")


def _needed(path: Path, arrays: Arrays, gates: bool) -> str:
    """The name in the file that gives this variable; "" where it starts without one."""
    name = torch_name(path)
    if "cbam" in path and not gates:
        return ""
    if path[-1] == "strength":
        return name if name in arrays else ""
    if "bn" in path and name.rsplit(".", 1)[0] + ".weight" not in arrays and _conv(path) + ".bias" in arrays:
        return _conv(path) + ".bias" if path[-1] == "bias" else ""
    return name


def _fitted(model: str, name: str, value: np.ndarray, path: Path, shape: tuple[int, ...]) -> np.ndarray:
    value = fitted(model, name, value, to_torch(path, np.empty(shape, np.bool_)).shape)
    if path[-1] == "kernel":
        value = value.transpose(2, 3, 1, 0) if len(shape) == 4 else value.reshape(shape[::-1]).T
    return np.ascontiguousarray(value)


def _start(path: Path, shape: tuple[int, ...], gates: bool, rng: np.random.Generator) -> np.ndarray:
    """Start of what no file gives: neutral batch norms, gates that say nothing, gates as published."""
    last = path[-1]
    if last == "kernel":
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[:-1]))).astype(np.float32)
    if last == "strength":
        return np.full(shape, float(gates), np.float32)
    return np.full(shape, _NEUTRAL.get(last, 0.0), np.float32)
