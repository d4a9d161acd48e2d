"""A trained segmentation network ready for use: uint8 images of any size in, label maps at their own size out."""

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.data.augment.geometry import to_float
from jaxqc.data.batching import MAX_PIXELS, Images, one_of, pad_to, power, stack_of
from jaxqc.data.problems import printable
from jaxqc.errors import UserError
from jaxqc.models.segmenter import encoder_spec
from jaxqc.semi import inference
from jaxqc.semi.data import BACKGROUND
from jaxqc.semi.manifest import Color, palette
from jaxqc.semi.objective import network_of
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.semi.train import make_network
from jaxqc.training.checkpoint import load_variables

MAX_VALUES = 2**28
"""Most probabilities in one device batch (1 GiB): of 40 classes at 1,920 x 1,080 three images."""

Out = np.ndarray | list[np.ndarray]


class Segmentation:
    """A network's parameters, its classes, and the normalisation it was trained with.

    `classes`, `colors`: by label, as the manifest has them. `meta`: the checkpoint's record. `fast`, `window`: how an
    image is taken unless a call says otherwise: at the long side that the selection images had. One graph is compiled
    for each size of the network's input and batch size, and two small ones (there and back) for each image size.
    """

    def __init__(self, params: Any, config: SemiTrainConfig, meta: Mapping[str, Any], batch: int = 16) -> None:
        """`batch`: most images on the device at once."""
        self.config, self.meta, self.batch = config, dict(meta), batch
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        colors = meta.get("colors") or palette(len(self.classes))
        self.colors: tuple[Color, ...] = tuple((r, g, b) for r, g, b in colors)
        self.fast, self.window = config.fast or config.eval_size, config.window
        # Trained by cuDNN's attention it is used where there is none, too.
        used = dataclasses.replace(config, attention="auto") if config.attention == "cudnn" else config
        self._network = network_of(make_network(used, len(self.classes)))
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

    def normalize(self, images: UInt8[Array, "n h w c"]) -> Float[Array, "n h w 3"]:
        """Pixels → what the network was trained on; grey becomes RGB."""
        mean, std = (jnp.asarray(self.meta[name], jnp.float32) for name in ("mean", "std"))
        return (to_float(images) - mean) / std

    def forward(
        self, params: Any, images: UInt8[Array, "n h w c"], fast: int = 0, window: bool = False
    ) -> Float[Array, "n h w k"]:
        """Raw images → probabilities at their own size. Pure: may be part of another graph."""
        return inference.probabilities(self._network, params, self.normalize(images), self._multiple, fast, window)

    def predict(self, images: Images, *, fast: int | None = None, window: bool | None = None) -> Out:
        """Label maps, uint8, each at its image's own size.

        Args:
          images: uint8 [n h w c] (c = 1 or 3), grey [n h w], one image [h w] or [h w c], or a list of images whose
            sizes may differ. An array with 3 axes is one image where the last is 1 or 3 long, else n grey ones.
          fast: long side in pixels at which the network sees an image, rounded to what it takes (384 to 378 where sides
            are multiples of 14); 0 = its own size; None = as the run has it.
          window: images with no side below 798 pixels in overlapping windows at their own size; None = as the run has
            it, unless `fast` is given.

        Returns:
          [n h w], [h w] for one image, or a list of [h w] for a list.

        Raises:
          UserError: another dtype or shape, or `fast` together with `window`.
        """
        return self._predict(images, ("label",), fast, window)["label"]

    def predict_full(self, images: Images, *, fast: int | None = None, window: bool | None = None) -> dict[str, Out]:
        """As `predict`, but all of it: `label`, `confidence` float32 [n h w] (the label's probability), and `map`
        float32 [n h w k] (every class's)."""
        return self._predict(images, ("label", "confidence", "map"), fast, window)

    def predict_defects(self, images: Images) -> dict[str, Out]:
        """`defect` as `defect_map`, `label` as `predict`, and `kind`, uint8: the most probable class but background."""
        self.check_background()
        return self._predict(images, ("defect", "label", "kind"), None, None)

    def defect_map(self, images: Images, *, fast: int | None = None, window: bool | None = None) -> Out:
        """1 - the probability of background, float32 [n h w]; arguments and errors as `predict`, `check_background`."""
        self.check_background()
        return self._predict(images, ("defect",), fast, window)["defect"]

    def check_background(self) -> None:
        """Raises UserError where class 0 is no background, or the only class."""
        if not self.background:
            first = printable(self.classes[0])
            raise UserError(f"classes: the first is {first!r}, not {BACKGROUND!r}; only with one there is a defect map")
        if len(self.classes) == 1:
            raise UserError(f"classes: {BACKGROUND!r} alone; nothing can be a defect")

    def input_size(
        self, height: int, width: int, fast: int | None = None, window: bool | None = None
    ) -> tuple[int, int]:
        """Height and width of the network's input for such an image, or of a window."""
        *size, slides = self._kind((height, width), *self._way(fast, window))
        side = inference.WINDOW // self._multiple * self._multiple
        return (side, side) if slides else (size[0], size[1])

    def kind(self, fast: int | None = None, window: bool | None = None) -> Callable[[Sequence[int]], tuple[int, ...]]:
        """shape [h w ...] of an image → what images have in common that are best predicted together."""
        way = self._way(fast, window)
        return lambda shape: self._kind(shape, *way)

    def way(self, fast: int | None = None, window: bool | None = None) -> dict[str, Any]:
        """The way a call with these arguments takes an image, in words for a record."""
        fast, window = self._way(fast, window)
        return {"long_side": fast, "window": window}

    def _kind(self, shape: Sequence[int], fast: int, window: bool) -> tuple[int, int, bool]:
        height, width = shape[:2]
        if inference.slides(height, width, window):
            return height, width, True
        return *inference.fitting(height, width, self._multiple, fast), False

    def _way(self, fast: int | None, window: bool | None) -> tuple[int, bool]:
        """The long side and whether large images slide, from what a call says and what the run has."""
        if fast and window:
            raise UserError(f"fast={fast} and window: a window takes images at their own size; choose one")
        if fast is not None and fast < 0:
            raise UserError(f"fast: {fast} must be 0 (the image's own size) or more pixels")
        if fast is None:
            return (0, True) if window else (self.fast, self.window if window is None else False)
        return fast, bool(window)

    def _predict(self, images: Images, what: tuple[str, ...], fast: int | None, window: bool | None) -> dict[str, Any]:
        fast, window = self._way(fast, window)
        if not isinstance(images, list | tuple):
            stack, single = stack_of(np.asarray(images))
            if not len(stack):
                shapes = jax.eval_shape(
                    lambda p, x: _answers(self.forward(p, x), what),
                    self.params,
                    np.zeros((1, *stack.shape[1:]), np.uint8),
                )
                return {k: np.zeros((0, *v.shape[1:]), v.dtype) for k, v in shapes.items()}
            found = self._each(list(stack[:, None]), what, fast, window)
            return {k: v[0] if single else np.stack(v) for k, v in found.items()}
        each = [one_of(np.asarray(image), i) for i, image in enumerate(images)]
        channels = max((image.shape[3] for image in each), default=1)
        return self._each([np.repeat(x, channels // x.shape[3], 3) for x in each], what, fast, window)

    def _each(
        self, images: list[np.ndarray], what: tuple[str, ...], fast: int, window: bool
    ) -> dict[str, list[np.ndarray]]:
        """Images [1 h w c] of any sizes: those of one kind in batches, those of one size together."""
        groups: dict[tuple[int, int, bool], list[int]] = {}
        for i, image in sorted(enumerate(images), key=lambda x: x[1].shape):
            groups.setdefault(self._kind(image.shape[1:], fast, window), []).append(i)
        found: dict[str, list[Any]] = {name: [None] * len(images) for name in what}
        for kind, group in groups.items():
            pixels = max(kind[0] * kind[1], *(images[i].shape[1] * images[i].shape[2] for i in group))
            most = max(1, min(self.batch, MAX_PIXELS // pixels, MAX_VALUES // (pixels * len(self.classes))))
            for start in range(0, len(group), most):
                part = group[start : start + most]
                full = most if len(group) > most else power(len(part))
                answers = self._batch([images[i] for i in part], full, what, fast, kind[2])
                for name, values in answers.items():
                    for i, value in zip(part, values, strict=False):  # what fills the batch comes last
                        found[name][i] = value
        return found

    def _batch(
        self, images: list[np.ndarray], full: int, what: tuple[str, ...], fast: int, slide: bool
    ) -> dict[str, Any]:
        """One call of the network with `full` images; the answers of images of several sizes come as lists."""
        if len({image.shape for image in images}) == 1:
            stack = pad_to(np.concatenate(images), full)
            if slide:
                out = self._slide(self.params, stack, what)
            else:
                out = self._restore(self._apply(self.params, self._fit(stack, fast)), stack.shape[1:3], what)
            return {name: np.asarray(value) for name, value in out.items()}
        x = jnp.concatenate([self._fit(image, fast) for image in images])
        logits = self._apply(self.params, jnp.concatenate([x, jnp.repeat(x[-1:], full - len(images), axis=0)]))
        each = [self._restore(logits[i : i + 1], image.shape[1:3], what) for i, image in enumerate(images)]
        return {name: [np.asarray(out[name])[0] for out in each] for name in what}


def _answers(map: Float[Array, "n h w k"], what: tuple[str, ...]) -> dict[str, Array]:
    """The answers asked for, from probabilities; all else stays on the device and is never computed."""
    of = {
        "label": lambda: map.argmax(-1).astype(jnp.uint8),
        "confidence": lambda: map.max(-1),
        "map": lambda: map,
        "defect": lambda: 1 - map[..., 0],
        "kind": lambda: (1 + map[..., 1:].argmax(-1)).astype(jnp.uint8),
    }
    return {name: of[name]() for name in what}


def is_segmentation(path: str | Path) -> bool:
    """True where a run folder's recipe is a semi-supervised one."""
    try:
        return json.loads((Path(path) / "config.json").read_text("utf-8"))["method"] == "semi"
    except (OSError, ValueError, KeyError, TypeError):
        return False


def load_segmentation(path: str | Path, which: str = "best", batch: int = 16) -> Segmentation:
    """The model of a run folder: `which` = `best` (by the selection split's mean IoU) or `last`.

    Raises:
      UserError: no run folder there, or its checkpoint is absent, damaged or of another version.
    """
    if not Path(path).is_dir():
        raise UserError(f"{path}: no such run folder; give the --out folder of a training run")
    variables, config, meta = load_variables(path, which, kind=SemiTrainConfig)
    missing = [key for key in ("classes", "mean", "std") if key not in meta]
    if missing:
        raise UserError(f"{Path(path) / 'meta.json'}: lacks {', '.join(missing)}; copy the whole run folder")
    params = variables["params"]
    if config.semi.students > 1:
        params = jax.tree.map(lambda x: x[0], params)
    outputs = params["head"]["logits"]["bias"].shape[-1]
    if outputs != len(meta["classes"]):
        names = len(meta["classes"])
        raise UserError(f"{Path(path) / 'meta.json'}: {names} classes, but the network tells {outputs}; copy it again")
    return Segmentation(params, config, meta, batch)
