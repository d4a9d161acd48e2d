"""Configuration: frozen dataclasses, loaded from a recipe, checked by `fields.py`, changed by `overrides.py`.

A recipe is a Python file and is executed (treat one from a stranger as code); it defines `get_config() -> TrainConfig`,
or the recipe of another verb.
"""

import dataclasses
import importlib.util
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from jaxqc.errors import UserError, suggest
from jaxqc.fields import Config, check_positive, check_seed, check_unused, classes, validate
from jaxqc.image_config import AugmentConfig as AugmentConfig
from jaxqc.image_config import DataConfig as DataConfig
from jaxqc.image_config import PhotometricConfig as PhotometricConfig
from jaxqc.image_config import channels_of, range_of
from jaxqc.plugins import RECIPE
from jaxqc.recipes import USES, find


@dataclass(frozen=True)
class ModelConfig:
    """The network and how it is built; `width` scales every channel count."""

    name: Any = "tscarnet"
    """A key of `jaxqc.saliency.networks.NETWORKS`, a network of an installed package, or a `Network` itself."""
    width: float = 1.0
    """Factor on every channel count of a saliency network."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute dtype; master weights, batch-norm statistics and the loss stay float32."""
    encoder: str = ""
    """Encoder of a saliency network that stands over any, such as resnet18 below `unet`; "" = the network's own."""
    weights: str = ""
    """Start of a saliency network: a file or short name of pretrained weights, as its `start` takes it, or a run folder
    of the same network; "" = drawn at random."""
    range: Literal["unit", "image_max"] = "unit"
    """Pixels of a saliency network's input before its mean is taken away: `unit` has 255 as 1, `image_max` each image's
    own largest value, once it is resized."""


@dataclass(frozen=True)
class Phase:
    """A stretch of training at one image size (progressive sizes make a CPU run affordable)."""

    epochs: float
    """Passes over the training images."""
    size: int = 224
    """Side of the training images in pixels."""
    batch: int = 16
    """Global batch, over all devices and accumulated micro-batches."""


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule."""

    name: Literal["sgd", "adamw", "adam", "stable_adamw"] = "sgd"
    """The optimiser. `stable_adamw` is AdamW whose step is bounded array by array (`jaxqc.training.optim`)."""
    lr: float = 0.05
    """Highest learning rate, reached at the end of the warm-up."""
    momentum: float = 0.9
    """Momentum of `sgd`."""
    nesterov: bool = True
    """True: `sgd` looks ahead; else its momentum is plain."""
    beta1: float = 0.9
    """Share that Adam's mean gradient keeps of itself each step."""
    beta2: float = 0.999
    """Share that Adam's mean square keeps of itself each step."""
    eps: float = 1e-8
    """Added by Adam to the root of the mean square."""
    weight_decay: float = 5e-4
    """Factor of weight decay."""
    decay: Literal["kernels", "all"] = "kernels"
    """The reach of weight decay: `kernels` leaves biases, norms and layer scales alone."""
    warmup_epochs: float = 5.0
    """Epochs in which the learning rate rises from 0."""
    schedule: Literal["poly", "cosine", "constant", "step"] = "poly"
    """Course of the learning rate after the warm-up."""
    power: float = 0.9
    """Exponent of `poly`: the rate falls as (1 - done)^power."""
    floor: float = 0.0
    """Learning rate at the end of `cosine`."""
    milestones: tuple[float, ...] = (0.95,)
    """Shares of the steps after the warm-up at which `step` lowers the rate."""
    factor: float = 0.1
    """Factor on the rate at each milestone of `step`."""
    clip: float = 10.0
    """Global gradient norm bound; 0 switches it off."""
    accumulate: int = 1
    """Micro-batches a step: the batch is cut into this many parts whose gradients are averaged."""


@dataclass(frozen=True)
class TrainConfig:
    """Everything a training run is made of, but the data's path and the run's folder."""

    method: Literal["saliency", "classifier", "semi", "detector"] = "saliency"
    """`classifier`: a backbone. `semi`: segmentation from few labels, whose recipes are a
    `jaxqc.semi.recipe.SemiTrainConfig`. `detector`: the training of one, which `jaxqc fit` starts."""
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    objective: Any = None
    """A saliency network's loss with its weights, a dataclass of `jaxqc.saliency.objectives` or such a one of the
    recipe's own; None = the network's."""
    average: float = 0.0
    """Share that the mean of a saliency network's variables keeps of itself each step, such as 0.998; it is measured
    and used in their place. 0 = none."""
    phases: tuple[Phase, ...] = (Phase(epochs=200),)
    """Stretches of training, one after another."""
    eval_size: int = 224
    """Side in pixels at which validation images are measured."""
    eval_batch: int = 16
    """Validation images on the devices at once."""
    eval_every_epochs: float = 10.0
    """Epochs between measurements of the validation images."""
    checkpoint_every_epochs: float = 10.0
    """Epochs between checkpoints."""
    best_metric: str = "s_measure"
    """Validation metric that picks the best checkpoint (`jaxqc.metrics.saliency`); higher is better but for `mae`."""
    seed: int = 0
    """Draws the start, the order and the augmentation."""
    backend: Literal["pmap", "shard_map"] = "pmap"
    """The way a step is spread over devices; both give the same result."""
    devices: int = 0
    """Local devices to use; 0 takes all."""
    steps_per_call: int = 32
    """Steps inside one compiled scan (resident mode); also the most steps between two log lines."""
    nan_patience: int = 10
    """Steps in a row with a non-finite loss or gradient before the run stops."""

    @property
    def unused(self) -> Mapping[str, str]:
        """Fields that the method does not use, each with what to do instead."""
        classes = "a class is a folder of images, or a label of a TFDS set"
        names = ("data.layout", "data.mask_key", "data.foreground", "data.normal", "data.unmasked")
        return dict.fromkeys(names, classes) if self.method == "classifier" else {}

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_seed(self.seed, where)
        range_of(self.data.range, f"{where}: data.range")
        channels_of(self.data.channels, f"{where}: data.channels")
        from jaxqc.tiling import tiling_of

        tiling_of(self.data.tile, self.data.overlap, f"{where}: data")
        if not 0 < self.data.tile_defects <= 1:
            raise UserError(f"{where}: data.tile_defects={self.data.tile_defects!r} must be above 0 and at most 1")
        if self.data.tile and self.method not in ("saliency", "semi"):
            raise UserError(f"{where}: data.tile is of saliency networks and fits; method={self.method!r} has none")
        positive = {"optim.lr": self.optim.lr, "model.width": self.model.width}
        if self.method != "semi":
            positive["eval_size"] = self.eval_size
        positive |= {"eval_batch": self.eval_batch, "optim.accumulate": self.optim.accumulate}
        positive |= {"steps_per_call": self.steps_per_call, "augment.crop_min": self.augment.crop_min}
        for i, phase in enumerate(self.phases):
            positive |= {f"phases.{i}.{name}": value for name, value in dataclasses.asdict(phase).items()}
            if phase.batch % max(self.optim.accumulate, 1):
                raise UserError(f"{where}: phases.{i}.batch={phase.batch} is not a multiple of optim.accumulate")
        check_positive(positive, where)
        own = {"objective": self.objective, "model.weights": self.model.weights, "model.range": self.model.range}
        own |= {"model.encoder": self.model.encoder, "average": self.average}
        others = [name for name, value in own.items() if value not in (None, "", "unit", 0.0)]
        if self.method != "saliency" and others:
            name = others[0]
            raise UserError(
                f"{where}: {name} is a saliency network's; method={self.method!r} has its own, leave it out"
            )
        if self.average >= 1:
            raise UserError(f"{where}: average={self.average!r} never moves; give 0 or a share below 1, such as 0.998")
        if not self.phases:
            raise UserError(f"{where}: phases is empty; give at least one Phase(epochs=..., size=..., batch=...)")


def load_config(recipe: str | Path, kind: type[Config] = TrainConfig) -> Config:
    """Runs the `get_config()` of a config file, which is to give a `kind`.

    recipe: a path, or the name of a packaged recipe such as `tscarnet_sd900` (`jaxqc recipes`).

    Raises:
      UserError: the file is absent, does not run, does not define `get_config`, or gives anything but a valid `kind`;
        a misspelt field is named with the closest known one.
    """
    path = find(recipe)
    spec = importlib.util.spec_from_file_location(f"{RECIPE}{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--config: {path} is not a Python file; a config file's name ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where a recipe's own classes and things are found by name
    try:
        spec.loader.exec_module(module)
        config = module.get_config()
    except AttributeError as e:
        raise UserError(f"{path}: {e}; a config file defines get_config() -> {kind.__name__}") from e
    except TypeError as e:
        # dataclasses refuse an unknown keyword with a TypeError that names class and keyword, but no close one.
        match = re.match(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'", str(e))
        kinds = classes(kind)
        if match and match[1] in kinds:
            known = [f.name for f in dataclasses.fields(kinds[match[1]])]
            raise UserError(f"{path}: {match[1]} has no field {match[2]!r}{suggest(match[2], known)}") from e
        raise UserError(f"{path}: {e}") from e
    except UserError:
        raise
    except Exception as e:  # it is the user's own code
        raise UserError(f"{path}: {type(e).__name__}: {e}") from e
    if not isinstance(config, kind):
        use = USES.get(type(config).__name__)
        hint = f"; it is a recipe for jaxqc {use.split()[0]}" if use else ""
        raise UserError(f"{path}: get_config() returned {type(config).__name__}, not a {kind.__name__}{hint}")
    return check_unused(validate(config, str(path)), str(path))
