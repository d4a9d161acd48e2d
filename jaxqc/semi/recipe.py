"""A training run of the family: the member, its network, and the data it learns from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from jaxqc.config import DataConfig, ModelConfig, OptimConfig, Phase, TrainConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive
from jaxqc.semi.member import SemiConfig as SemiConfig
from jaxqc.semi.presets import PRESETS as PRESETS
from jaxqc.semi.presets import preset as preset
from jaxqc.semi.settings import ContrastConfig as ContrastConfig
from jaxqc.semi.settings import CutMixConfig as CutMixConfig
from jaxqc.semi.settings import GateConfig as GateConfig
from jaxqc.semi.settings import HistoryConfig as HistoryConfig
from jaxqc.semi.settings import LanguageConfig as LanguageConfig
from jaxqc.semi.settings import MemoryConfig as MemoryConfig
from jaxqc.semi.settings import NoiseConfig as NoiseConfig
from jaxqc.semi.settings import RampConfig as RampConfig
from jaxqc.semi.settings import SelectConfig as SelectConfig
from jaxqc.semi.settings import TiersConfig as TiersConfig


@dataclass(frozen=True)
class SemiDataConfig:
    """The images that are learnt from, and the way they are cut; split files are made by `jaxqc data split`."""

    splits: str = ""
    """Folder of `labeled.txt`, `unlabeled.txt`, `select.txt` and `val.txt`; "" = the data's own folder."""
    manifest: str = ""
    """File with class names and colours; "" = the one beside the split files, or else the data's own."""
    scale_min: float = 0.5
    """The long side is scaled by U(scale_min, scale_max) before the crop."""
    scale_max: float = 2.0
    """Largest factor of that scale."""
    flip: float = 0.5
    """Probability of a horizontal flip."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_positive({"scale_min": self.scale_min}, where)
        if self.scale_min > self.scale_max:
            raise UserError(f"{where}: scale_min={self.scale_min!r} is above scale_max={self.scale_max!r}")
        if self.flip > 1:
            raise UserError(f"{where}: flip={self.flip!r} is a probability; give at most 1")


REFERENCE_OPTIM = OptimConfig("adamw", lr=5e-6, weight_decay=0.01, warmup_epochs=0, schedule="poly", power=0.9, clip=0)
"""UniMatch V2's, for a batch of 16."""


@dataclass(frozen=True)
class SemiTrainConfig(TrainConfig):
    """A training run of the family: a `TrainConfig`, the member and its data.

    A phase's `size` is the side of the training crop (and of the views), its `batch` the number of unlabelled images a
    step, beside which stand as many labelled ones; an epoch is one pass over the unlabelled images.
    """

    method: Literal["saliency", "classifier", "semi"] = "semi"
    model: ModelConfig = field(default_factory=lambda: ModelConfig("dinov2_vits14"))
    """`name`: the encoder, one of `jaxqc.models.segmenter`'s."""
    data: DataConfig = field(default_factory=lambda: DataConfig(mode="stream"))
    """The fields `mode` and `workers` count: `resident` keeps all decoded images in the host's memory."""
    optim: OptimConfig = field(default_factory=lambda: REFERENCE_OPTIM)
    """`lr` is the encoder's for a batch of `lr_batch`."""
    phases: tuple[Phase, ...] = (Phase(epochs=60, size=518, batch=16),)
    eval_size: int = 0
    """Selection images are measured at their own size, which costs a compiled program for every size among them; a
    number of pixels: in a square of this side (long side scaled to it, the rest ignored), one program for all."""
    eval_batch: int = 1
    eval_every_epochs: float = 1.0
    checkpoint_every_epochs: float = 1.0
    best_metric: str = "miou"
    semi: SemiConfig = field(default_factory=lambda: PRESETS["mvpmatch"])
    """The member of the family."""
    views: SemiDataConfig = field(default_factory=SemiDataConfig)
    weights: str = ""
    """The encoder's: a file, or a short name of `jaxqc weights`; "" = drawn at random."""
    attention: Literal["auto", "xla", "cudnn", "cpu"] = "auto"
    """Implementation of the transformers' attention; `auto` goes by the device."""
    layers: int = 4
    """Layers of a ResNet or an EfficientNet that are used, 2 to 4; of transformers always four."""
    hidden: int = 0
    """Width of the head; 0 = what goes with the encoder, or with a published head."""
    head: Literal["dpt", "deeplabv3plus", "deeplabv3plus_u2pl", "segformer"] = "dpt"
    """From features to logits; the others are for encoders whose maps have several sizes."""
    output_stride: Literal[32, 16, 8] = 32
    """Stride of a ResNet's deepest map: below 32 its last layers are dilated, as DeepLabV3+ is published with 16."""
    multi_grid: bool = False
    """The last blocks of such a layer are dilated by 2, 2 and 4 times as much (U2PL)."""
    head_rate: float = 40.0
    """The head's learning rate over the encoder's."""
    lr_batch: int = 16
    """The batch that the learning rate is for; it is scaled by the batch of the first phase over this. 0 = not."""
    peak_tflops: float = 0.0
    """TFLOP/s that one device can do in `model.dtype`, of its data sheet or measured: the log then records the
    share of it that the model's FLOPs reach (MFU). 0 = not known."""
    long_side: int = 0
    """Long side in pixels of the images that the network sees when it is measured; 0 = their own."""
    window: bool = False
    """Measure large images by a sliding window."""

    renamed = {"fast": "long_side"}  # noqa: RUF012 - no field: as earlier versions stored it

    @property
    def unused(self) -> Mapping[str, str]:
        """Fields that a run of few labels does not use, each with what to do instead."""
        lists = "the lists in views.splits name the images and masks (jaxqc data split makes them)"
        names = ("protocol", "layout", "skip_bad", "image_key", "mask_key", "label_key")
        names += ("foreground", "normal", "unmasked")
        views = "views.scale_min, views.scale_max, views.flip, semi.photometric and semi.cutmix change the images"
        windows = "views are cut at the images' own size, and --window measures large ones in overlapping windows"
        tiles = dict.fromkeys(("data.tile", "data.overlap", "data.tile_defects"), windows)
        phrases = {"hidden": "a decoder of phrases has no hidden channels"} if self.semi.language.decoder else {}
        return {"augment": views, **tiles, **phrases, **{f"data.{name}": lists for name in names}}

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        super().check(where)
        if self.method != "semi":
            raise UserError(f"{where}: method={self.method!r}; a recipe with few labels has 'semi'")
        self.semi.check(f"{where}: semi")
        self.views.check(f"{where}: views")
        if self.semi.noise.eps and self.model.dtype != "float32":
            raise UserError(f"{where}: semi.noise.eps={self.semi.noise.eps!r} needs model.dtype='float32'; set it to 0")
        check_positive({"head_rate": self.head_rate}, where)
        if self.semi.language.decoder and (self.head, self.output_stride, self.multi_grid) != ("dpt", 32, False):
            raise UserError(
                f"{where}: semi.language.decoder brings a head and an encoder of its own; leave head, output_stride and"
                " multi_grid as they are"
            )
        if not 0 <= self.peak_tflops < math.inf:
            raise UserError(f"{where}: peak_tflops={self.peak_tflops} must be TFLOP/s of a device, or 0 = not known")
        if self.data.size:
            raise UserError(
                f"{where}: data.size={self.data.size}; views are cut at phases.0.size and selection images measured by"
                " eval_size, so leave it at 0"
            )

    @property
    def lr_scale(self) -> float:
        """The factor on the learning rate for the batch."""
        return self.phases[0].batch / self.lr_batch if self.lr_batch else 1.0
