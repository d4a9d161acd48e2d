"""A trained segmentation network ready for use: uint8 images of any size in, label maps at their own size out."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.data.augment.geometry import to_float
from jaxqc.data.batching import MAX_PIXELS, Images, as_arrays, one_of, pad_to, power, stack_of
from jaxqc.data.problems import printable
from jaxqc.data.rendering import rendering_of_model
from jaxqc.errors import UserError
from jaxqc.models.segmenter import encoder_spec
from jaxqc.outputs import Outputs, chosen
from jaxqc.semi import inference
from jaxqc.semi.data import BACKGROUND
from jaxqc.semi.manifest import Color, palette
from jaxqc.semi.network import deployed, halves_of, make_network, outputs_of
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.training.checkpoint import load_variables
from jaxqc.types import ArrayLike

MAX_VALUES = 2**28
"""Most probabilities in one device batch (1 GiB): of 40 classes at 1,920 x 1,080 three images."""

OF_DEFECTS = ("map", "defect_class")
OUTPUTS = ("label", "confidence", "probabilities", *OF_DEFECTS)


class Segmentation:
    """A network's parameters, its classes, and the normalisation it was trained with.

    `classes`, `colors`: by label, as the manifest has them. `meta`: the checkpoint's record. `long_side`, `window`: how
    an image is taken unless a call says otherwise: at the long side that the selection images had. One graph is
    compiled for each size of the network's input and batch size, and two small ones (there and back) for each image
    size.

    Examples:
      >>> from jaxqc.config import ModelConfig
      >>> config = SemiTrainConfig(model=ModelConfig("vit_tiny14"), hidden=8)
      >>> meta = {"classes": ["background", "crack"], "mean": [0.5] * 3, "std": [0.25] * 3}
      >>> Segmentation({}, config, meta).outputs
      ('label', 'confidence', 'probabilities', 'map', 'defect_class')
    """

    kind = "segmentation"
    """Its entry of `jaxqc.kinds.KINDS`."""

    def __init__(self, params: Any, config: SemiTrainConfig, meta: Mapping[str, Any], batch: int = 16) -> None:
        """`batch`: most images on the device at once."""
        self.config, self.meta, self.batch = config, dict(meta), batch
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        colors = meta.get("colors") or palette(len(self.classes))
        self.colors: tuple[Color, ...] = tuple((r, g, b) for r, g, b in colors)
        self.long_side, self.window = config.long_side or config.eval_size, config.window
        # Trained by cuDNN's attention it is used where there is none, too.
        used = dataclasses.replace(config, attention="auto") if config.attention == "cudnn" else config
        self._network = halves_of(make_network(used, len(self.classes)))
        self._multiple = encoder_spec(config.model.name).multiple
        self.params = jax.device_put(params)
        self._fit = jax.jit(lambda images, side: inference.fitted(self.normalize(images), self._multiple, side),
                            static_argnums=1)  # fmt: skip
        self._apply = jax.jit(self._network.__call__)
        self._restore = jax.jit(lambda logits, size, what: _answers(inference.restored(logits, *size), what),
                                static_argnums=(1, 2))  # fmt: skip
        self._slide = jax.jit(lambda params, images, what: _answers(self.forward(params, images, 0, True), what),
                              static_argnums=2)  # fmt: skip

    @property
    def background(self) -> bool:
        """True where class 0 stands for the absence of the others."""
        return self.classes[0].lower() == BACKGROUND

    def normalize(self, images: UInt8[ArrayLike, "n h w c"]) -> Float[Array, "n h w 3"]:
        """Pixels → what the network was trained on; grey becomes RGB."""
        mean, std = (jnp.asarray(self.meta[name], jnp.float32) for name in ("mean", "std"))
        return (to_float(images) - mean) / std

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `predict` takes, the default first; those of defects only with a background class."""
        return OUTPUTS if self.background and len(self.classes) > 1 else OUTPUTS[: -len(OF_DEFECTS)]

    def forward(
        self, params: Any, images: UInt8[ArrayLike, "n h w c"], long_side: int = 0, window: bool = False
    ) -> Float[Array, "n h w k"]:
        """Raw images → probabilities at their own size. Pure: may be part of another graph."""
        return inference.probabilities(self._network, params, self.normalize(images), self._multiple, long_side, window)

    def predict(
        self, images: Images, *, size: int | None = None, outputs: Outputs = None, window: bool | None = None
    ) -> Any:
        """Label maps, uint8, each at its image's own size; or the outputs that are named.

        Args:
          images: uint8 [n h w c] (c = 1 or 3), grey [n h w], one image [h w] or [h w c], a path, an image of PIL's, or
            a list of such, whose sizes may differ. An array with 3 axes is one image where the last is 1 or 3 long,
            else n grey ones.
          size: long side in pixels at which the network sees an image, rounded to what it takes (384 to 378 where sides
            are multiples of 14); 0 = its own size; None = as the run has it.
          outputs: names of `self.outputs`: `label` uint8 [n h w]; `confidence` float32 [n h w], the label's
            probability; `probabilities` float32 [n h w k], every class's; with a background class also `map` float32
            [n h w], 1 - its probability, and `defect_class` uint8 [n h w], the most probable other class.
          window: images with no side below 798 pixels in overlapping windows at their own size; None = as the run has
            it, unless `size` is given.

        Returns:
          [n h w], [h w] for one image, or a list of [h w] for a list; with `outputs` given, a dict of such by name.

        Raises:
          UserError: another dtype or shape, an unknown output, or `size` together with `window`.
        """
        names = ("label",) if outputs is None else chosen(outputs, OUTPUTS)
        if set(names) & set(OF_DEFECTS):
            self.check_background()
        found = self._predict(images, names, size, window)
        return found["label"] if outputs is None else found

    def predict_full(self, images: Images, *, size: int | None = None, window: bool | None = None) -> dict[str, Any]:
        """`label`, `confidence` and, as `map`, the `probabilities` of `predict`."""
        found = self.predict(images, size=size, outputs=("label", "confidence", "probabilities"), window=window)
        found["map"] = found.pop("probabilities")
        return found

    def defect_map(self, images: Images, *, size: int | None = None, window: bool | None = None) -> Any:
        """The output `map` alone: 1 - the probability of background, float32 [n h w]."""
        return self.predict(images, size=size, outputs="map", window=window)["map"]

    def check_background(self) -> None:
        """Raises UserError where class 0 is no background, or the only class."""
        if not self.background:
            first = printable(self.classes[0])
            raise UserError(f"classes: the first is {first!r}, not {BACKGROUND!r}; only with one there is a defect map")
        if len(self.classes) == 1:
            raise UserError(f"classes: {BACKGROUND!r} alone; nothing can be a defect")

    def input_size(
        self, height: int, width: int, size: int | None = None, window: bool | None = None
    ) -> tuple[int, int]:
        """Height and width of the network's input for such an image, or of a window."""
        *sides, slides = self._input((height, width), *self._way(size, window))
        side = inference.WINDOW // self._multiple * self._multiple
        return (side, side) if slides else (sides[0], sides[1])

    def grouping(self, size: int | None = None, window: bool | None = None) -> Callable[[Sequence[int]], Any]:
        """shape [h w ...] of an image → a key that is the same for images best predicted together."""
        way = self._way(size, window)
        return lambda shape: self._input(shape, *way)

    def way(self, size: int | None = None, window: bool | None = None) -> dict[str, Any]:
        """The way a call with these arguments takes an image, in words for a record."""
        long_side, window = self._way(size, window)
        return {"long_side": long_side, "window": window}

    def _input(self, shape: Sequence[int], long_side: int, window: bool) -> tuple[int, int, bool]:
        height, width = shape[:2]
        if inference.slides(height, width, window):
            return height, width, True
        return *inference.fitting(height, width, self._multiple, long_side), False

    def _way(self, size: int | None, window: bool | None) -> tuple[int, bool]:
        """The long side and whether large images slide, from what a call says and what the run has."""
        if size and window:
            raise UserError(f"size={size} and window: a window takes images at their own size; choose one")
        if size is not None and size < 0:
            raise UserError(f"size: {size} must be 0 (the image's own size) or more pixels")
        if size is None:
            return (0, True) if window else (self.long_side, self.window if window is None else False)
        return size, bool(window)

    def _predict(self, images: Any, what: tuple[str, ...], size: int | None, window: bool | None) -> dict[str, Any]:
        long_side, window = self._way(size, window)
        images = as_arrays(images, rendering_of_model(self))
        if not isinstance(images, list):
            stack, single = stack_of(images)
            if not len(stack):
                shapes = jax.eval_shape(
                    lambda p, x: _answers(self.forward(p, x), what),
                    self.params,
                    np.zeros((1, *stack.shape[1:]), np.uint8),
                )
                return {k: np.zeros((0, *v.shape[1:]), v.dtype) for k, v in shapes.items()}
            found = self._each(list(stack[:, None]), what, long_side, window)
            return {k: v[0] if single else np.stack(v) for k, v in found.items()}
        each = [one_of(image, i) for i, image in enumerate(images)]
        channels = max((image.shape[3] for image in each), default=1)
        return self._each([np.repeat(x, channels // x.shape[3], 3) for x in each], what, long_side, window)

    def _each(
        self, images: list[np.ndarray], what: tuple[str, ...], long_side: int, window: bool
    ) -> dict[str, list[np.ndarray]]:
        """Images [1 h w c] of any sizes: those of one input size in batches, those of one size together."""
        groups: dict[tuple[int, int, bool], list[int]] = {}
        for i, image in sorted(enumerate(images), key=lambda x: x[1].shape):
            groups.setdefault(self._input(image.shape[1:], long_side, window), []).append(i)
        found: dict[str, list[Any]] = {name: [None] * len(images) for name in what}
        for key, group in groups.items():
            pixels = max(key[0] * key[1], *(images[i].shape[1] * images[i].shape[2] for i in group))
            most = max(1, min(self.batch, MAX_PIXELS // pixels, MAX_VALUES // (pixels * len(self.classes))))
            for start in range(0, len(group), most):
                part = group[start : start + most]
                full = most if len(group) > most else power(len(part))
                answers = self._batch([images[i] for i in part], full, what, long_side, key[2])
                for name, values in answers.items():
                    for i, value in zip(part, values, strict=False):  # what fills the batch comes last
                        found[name][i] = value
        return found

    def _batch(
        self, images: list[np.ndarray], full: int, what: tuple[str, ...], long_side: int, slide: bool
    ) -> dict[str, Any]:
        """One call of the network with `full` images; the answers of images of several sizes come as lists."""
        if len({image.shape for image in images}) == 1:
            stack = pad_to(np.concatenate(images), full)
            if slide:
                out = self._slide(self.params, stack, what)
            else:
                out = self._restore(self._apply(self.params, self._fit(stack, long_side)), stack.shape[1:3], what)
            return {name: np.asarray(value) for name, value in out.items()}
        x = jnp.concatenate([self._fit(image, long_side) for image in images])
        logits = self._apply(self.params, jnp.concatenate([x, jnp.repeat(x[-1:], full - len(images), axis=0)]))
        each = [self._restore(logits[i : i + 1], image.shape[1:3], what) for i, image in enumerate(images)]
        return {name: [np.asarray(out[name])[0] for out in each] for name in what}


def _answers(probabilities: Float[Array, "n h w k"], what: tuple[str, ...]) -> dict[str, Array]:
    """The answers asked for, from probabilities; all else stays on the device and is never computed."""
    of = {
        "label": lambda: probabilities.argmax(-1).astype(jnp.uint8),
        "confidence": lambda: probabilities.max(-1),
        "probabilities": lambda: probabilities,
        "map": lambda: 1 - probabilities[..., 0],
        "defect_class": lambda: (1 + probabilities[..., 1:].argmax(-1)).astype(jnp.uint8),
    }
    return {name: of[name]() for name in what}


def load_segmentation(path: str | Path, which: str = "best", batch: int = 16) -> Segmentation:
    """The model of a run folder: `which` = `best` (by the selection split's mean IoU) or `last`.

    Raises:
      UserError: no run folder there, or its checkpoint is absent, damaged or of another version.

    Examples:
      >>> load_segmentation("nothing")
      Traceback (most recent call last):
      jaxqc.errors.UserError: nothing: no such run folder; give the --out folder of a training run
    """
    if not Path(path).is_dir():
        raise UserError(f"{path}: no such run folder; give the --out folder of a training run")
    variables, config, meta = load_variables(path, which, kind=SemiTrainConfig)
    missing = [key for key in ("classes", "mean", "std") if key not in meta]
    if missing:
        raise UserError(f"{Path(path) / 'meta.json'}: lacks {', '.join(missing)}; copy the whole run folder")
    params = variables["params"]
    if config.semi.several:
        params = jax.tree.map(lambda x: x[0], params)
    params = deployed(params)
    outputs = outputs_of(params)
    if outputs != len(meta["classes"]):
        names = len(meta["classes"])
        raise UserError(f"{Path(path) / 'meta.json'}: {names} classes, but the network tells {outputs}; copy it again")
    return Segmentation(params, config, meta, batch)
