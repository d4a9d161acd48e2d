"""Configuration: frozen dataclasses, loaded from `configs/NAME.py` and checked field by field (flags: `overrides.py`).

A config file is Python and is executed (treat one from a stranger as code); it defines `get_config() -> TrainConfig`.
"""

import dataclasses
import importlib.util
import json
import math
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxqc.errors import UserError, suggest

Layout = Literal[
    "auto",
    "sd900",
    "index",
    "mvtec",
    "loco",
    "visa",
    "btad",
    "ksdd",
    "ksdd2",
    "mt",
    "rsdds",
    "aitex",
    "nanotwice",
    "fabric",
    "textured",
    "tfds",
    "records",
]
"""How a data set lies on disk; `auto` tells by its folders and files."""


@dataclass(frozen=True)
class ModelConfig:
    """Which network. `name` is a key of `jaxqc.models.BUILDERS`; `width` scales every channel count."""

    name: str = "tscarnet"
    width: float = 1.0
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute dtype; master weights, batch-norm statistics and the loss stay float32."""


@dataclass(frozen=True)
class DataConfig:
    """Where the images are and how they reach the device."""

    layout: Layout = "auto"
    protocol: Literal["auto", "index", "seed", "field"] = "auto"
    """`index`: the data's own split column. `seed`: 270 + 30 a class by a fixed seed. `field`: noisy, test on all.
    `auto`: `index` where the data bring a split, else `seed`; a run's folder records the one it was."""
    mode: Literal["resident", "stream"] = "resident"
    """`resident`: the whole set lives on the device as uint8. `stream`: a grain pipeline feeds each step."""
    size: int = 0
    """Side in pixels to which images are resized when decoded; 0 keeps the size they all share."""
    workers: int = 0
    """grain worker processes (stream mode); 0 decodes in threads of this process."""
    skip_bad: bool = False
    """Leave out unreadable samples (listed in the log) instead of refusing to start."""
    image_key: str = ""
    """Layout `tfds`: the feature that is the image; "" finds it, as the two below, by kind and usual names."""
    mask_key: str = ""
    label_key: str = ""
    foreground: str = ""
    """Layout `tfds`: mask values that mean defect, such as 1,3, where the mask is not binary."""


@dataclass(frozen=True)
class AugmentConfig:
    """On-device augmentation, drawn per image inside the compiled step. Zero switches a part off."""

    flip_horizontal: bool = True
    flip_vertical: bool = False
    crop_min: float = 1.0
    """Smallest side of the random square crop as a share of the image's; 1 keeps the whole image."""
    brightness: float = 0.0
    contrast: float = 0.0
    noise: float = 0.0
    """Largest standard deviation of added Gaussian noise, in [0, 1] image units."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one image size (progressive sizes make a CPU run affordable)."""

    epochs: float
    size: int = 224
    batch: int = 16
    """Global batch, over all devices and accumulated micro-batches."""


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule. Weight decay leaves biases and batch-norm parameters alone."""

    name: Literal["sgd", "adamw", "adam"] = "sgd"
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: float = 5.0
    schedule: Literal["poly", "cosine", "constant"] = "poly"
    power: float = 0.9
    clip: float = 10.0
    """Global gradient norm bound; 0 switches it off."""
    accumulate: int = 1
    """Micro-batches a step: the batch is cut into this many parts whose gradients are averaged."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run is made of, but the data's path and the run's folder."""

    method: Literal["saliency"] = "saliency"
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    phases: tuple[Phase, ...] = (Phase(epochs=200),)
    eval_size: int = 224
    eval_batch: int = 16
    eval_every_epochs: float = 10.0
    checkpoint_every_epochs: float = 10.0
    best_metric: str = "s_measure"
    """Validation metric that picks the best checkpoint (`jaxqc.metrics.saliency`); higher is better but for `mae`."""
    seed: int = 0
    backend: Literal["pmap", "shard_map"] = "pmap"
    devices: int = 0
    """Local devices to use; 0 takes all."""
    steps_per_call: int = 32
    """Steps inside one compiled scan (resident mode); also the most steps between two log lines."""
    nan_patience: int = 10
    """Steps in a row with a non-finite loss or gradient before the run stops."""


SECTIONS: dict[str, type] = {"model": ModelConfig, "data": DataConfig, "augment": AugmentConfig, "optim": OptimConfig}


def load_config(path: str | Path) -> TrainConfig:
    """Runs the config file's `get_config()`.

    Raises:
      UserError: the file is absent, does not run, does not define `get_config`, or gives anything but a valid
        `TrainConfig`; a misspelt field is named with the closest known one.
    """
    path = Path(path)
    if not path.is_file():
        near = sorted(p.name for p in path.parent.glob("*.py")) if path.parent.is_dir() else []
        raise UserError(f"--config: no file {path}" + (suggest(path.name, near) if near else ""))
    spec = importlib.util.spec_from_file_location(f"jaxqc_config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config: {path} is not a Python file; a config file's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    except AttributeError as e:
        raise UserError(f"{path}: {e}; a config file defines get_config() -> jaxqc.config.TrainConfig") from e
    except TypeError as e:
        # dataclasses refuse an unknown keyword with a TypeError that names class and keyword, but no close one.
        match = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(e))
        kinds = {kind.__name__: kind for kind in (TrainConfig, Phase, *SECTIONS.values())}
        if match and match[1] in kinds:
            known = [f.name for f in dataclasses.fields(kinds[match[1]])]
            raise UserError(f"{path}: {match[1]} has no field {match[2]!r}{suggest(match[2], known)}") from e
        raise UserError(f"{path}: {e}") from e
    except UserError:
        raise
    except Exception as e:  # it is the user's own code
        raise UserError(f"{path}: {type(e).__name__}: {e}") from e
    if not isinstance(config, TrainConfig):
        raise UserError(f"{path}: get_config() returned {type(config).__name__}, not a TrainConfig")
    return validate(config, str(path))


def validate(config: TrainConfig, where: str = "config") -> TrainConfig:
    """Returns the config unchanged when every field's type, choice and range are right.

    Raises:
      UserError: naming the dotted field, its value, and what it may be.
    """
    try:
        rows = list(leaves(config))
    except UserError as e:
        raise UserError(f"{where}: {e}") from e
    for name, kind, value in rows:
        if typing.get_origin(kind) is Literal:
            choices = typing.get_args(kind)
            if value not in choices:
                raise UserError(f"{where}: {name}={value!r}{suggest(str(value), choices)}")
            continue
        fits = isinstance(value, (int, float) if kind is float else kind)
        if not fits or (isinstance(value, bool) and kind is not bool):
            raise UserError(f"{where}: {name}={value!r} is not of type {kind.__name__}")
        if kind in (int, float) and not 0 <= value < math.inf:
            raise UserError(f"{where}: {name}={value!r} must be finite and not negative")
    if config.seed >= 2**32:
        raise UserError(f"{where}: seed={config.seed} must be below 2**32")
    positive = {"optim.lr": config.optim.lr, "model.width": config.model.width, "eval_size": config.eval_size}
    positive |= {"eval_batch": config.eval_batch, "optim.accumulate": config.optim.accumulate}
    positive |= {"steps_per_call": config.steps_per_call, "augment.crop_min": config.augment.crop_min}
    for i, phase in enumerate(config.phases):
        positive |= {f"phases.{i}.{name}": value for name, value in dataclasses.asdict(phase).items()}
        if phase.batch % max(config.optim.accumulate, 1):
            raise UserError(f"{where}: phases.{i}.batch={phase.batch} is not a multiple of optim.accumulate")
    for name, value in positive.items():
        if value <= 0:
            raise UserError(f"{where}: {name}={value!r} must be above 0")
    if not config.phases:
        raise UserError(f"{where}: phases is empty; give at least one Phase(epochs=..., size=..., batch=...)")
    return config


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every plain field as (dotted name, type, value); phases are numbered: `phases.0.epochs`."""
    for name, kind in typing.get_type_hints(type(config)).items():
        value = getattr(config, name)
        if dataclasses.is_dataclass(kind):
            if not isinstance(value, typing.cast(type, kind)):
                raise UserError(f"{prefix}{name}={value!r} is not a {typing.cast(type, kind).__name__}")
            yield from leaves(value, f"{prefix}{name}.")
        elif name == "phases":
            if not isinstance(value, tuple):
                raise UserError(f"phases={value!r} is not a tuple of Phase(epochs=..., size=..., batch=...)")
            for i, phase in enumerate(value):
                if not isinstance(phase, Phase):
                    raise UserError(f"phases.{i}={phase!r} is not a Phase")
                yield from leaves(phase, f"phases.{i}.")
        else:
            yield f"{prefix}{name}", kind, value


def to_dict(config: Any) -> dict[str, Any]:
    """The config as plain JSON values, as stored in a checkpoint."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(values: dict[str, Any], kind: type = TrainConfig, where: str = "config") -> Any:
    """Inverse of `to_dict`. Unknown keys and wrong values raise `UserError` with a suggestion."""
    fields = {f.name: f for f in dataclasses.fields(kind)}
    for key in values:
        if key not in fields:
            raise UserError(f"{where}: unknown key {key!r}{suggest(key, fields)}")
    out: dict[str, Any] = {}
    for key, value in values.items():
        if kind is TrainConfig and key in SECTIONS:
            value = from_dict(value, SECTIONS[key], f"{where}.{key}")
        elif kind is TrainConfig and key == "phases":
            value = tuple(from_dict(p, Phase, f"{where}.phases[{i}]") for i, p in enumerate(value))
        out[key] = value
    try:
        built = kind(**out)
    except TypeError as e:
        raise UserError(f"{where}: {e}") from e
    return validate(built, where) if kind is TrainConfig else built
