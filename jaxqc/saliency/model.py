"""A trained network ready for use: uint8 images of any size in, maps at the original size out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, UInt8

from jaxqc.config import TrainConfig
from jaxqc.data.augment.geometry import fit_to_size, to_float
from jaxqc.data.batching import MAX_PIXELS, Images, as_arrays, one_of, pad_to, power, stack_of
from jaxqc.data.rendering import rendering_of_model
from jaxqc.errors import UserError
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.outputs import Outputs, chosen
from jaxqc.saliency.forward import brightest, infer
from jaxqc.saliency.networks import build, network_of
from jaxqc.saliency.seen_in_tiles import OUTPUTS, strips_of, tile_answers_of
from jaxqc.scorer import PLAIN
from jaxqc.training.checkpoint import load_variables
from jaxqc.training.moved import moved
from jaxqc.training.record import weights_digest
from jaxqc.types import Variables

Prediction = np.ndarray | list[np.ndarray]


class Model:
    """Variables, network and the normalisation it was trained with.

    `classes`: names of the defect classes. `size`: side in pixels to which images are resized on the device before the
    network sees them. `meta`: the checkpoint's record (data digest, versions, git commit, metrics).
    One graph is compiled for each image size and batch size and kept; batches are padded to powers of two, so that few
    batch sizes occur.
    """

    kind = "saliency"
    """Its entry of `jaxqc.kinds.KINDS`."""
    mixes_sizes = False

    def __init__(
        self, variables: Variables, config: TrainConfig, meta: Mapping[str, Any], fold: bool = True, batch: int = 16
    ) -> None:
        """`fold`: batch norm is multiplied into the kernels. `batch`: most images on the device at once."""
        self.config, self.meta, self.batch = config, dict(meta), batch
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.size, self.tile, self.tiling = config.eval_size, config.data.tile, config.data.tiling
        net = config.model
        self.entry = network_of(net)
        self._network = build(self.entry, max(len(self.classes), 1), net.width, net.dtype, folded=fold)
        self.variables = jax.device_put(fold_batch_norm(variables, self.entry.epsilon) if fold else dict(variables))
        self._run = jax.jit(self.forward, static_argnames="size")
        self.shrink = jax.jit(self.prepare, static_argnums=1)
        self._apply = jax.jit(self.apply)
        self.enlarge = jax.jit(_enlarge, static_argnums=(1, 2))

    def prepare(self, images: UInt8[Array, "n h w c"], size: int) -> Float[Array, "n s t 3"]:
        """Pixels → normalised network input, resized as in training (0: own size, padded to what the network takes)."""
        x, (n, h, w), multiple = to_float(images), images.shape[:3], self.entry.multiple
        if size:
            x, _ = fit_to_size(x, jnp.zeros((n, h, w)), size)
        else:
            x = jnp.pad(x, ((0, 0), (0, -h % multiple), (0, -w % multiple), (0, 0)), mode="edge")
        if self.config.model.range == "image_max":
            x = x / brightest(x)
        mean, std = (jnp.asarray(self.meta[name], jnp.float32) for name in ("mean", "std"))
        return (x - mean) / std

    def apply(self, variables: Variables, x: Float[Array, "n s t 3"]) -> dict[str, Array]:
        """Network input → `map` [n s s] in [0, 1] and, where it has them, `class` probabilities [n k], coarse maps."""
        return infer(self._network, variables, x, self.entry.maps)

    def forward(
        self, variables: Variables, images: UInt8[Array, "n h w c"], size: int
    ) -> dict[str, Float[Array, "n ..."]]:
        """Raw images → as `apply`, with `map` [n h w] at the images' own size. Pure: may be part of another graph."""
        out = self.apply(variables, self.prepare(images, size))
        h, w = images.shape[1:3]
        return {**out, "map": _enlarge(out["map"], h, w) if size else out["map"][:, :h, :w]}

    def on_device(self, images: UInt8[np.ndarray, "b h w c"], size: int) -> dict[str, Array]:
        """`map` and, where the network has it, `class` of a whole batch of one size, which may still be at work."""
        out = self._run(self.variables, images, size)
        return {name: out[name] for name in OUTPUTS if name in out}

    def strips(self, image: UInt8[np.ndarray, "h w c"], size: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """The map of `predict` of one image in tiles, strip by strip from its top: no more is held at a time.

        Raises:
          UserError: as `predict`.
        """
        yield from strips_of(self, one_of(image, 0)[0], self._checked(self.size if size is None else size))

    def run_by(self, apply: Callable[..., Any], run: Callable[..., Any]) -> "Model":
        """This model, with these functions in place of its compiled `apply` and `forward`."""
        self._apply, self._run = apply, run
        return self

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `predict` takes, the default first."""
        side = -(-64 // self.entry.multiple) * self.entry.multiple
        one = jax.ShapeDtypeStruct((1, side, side, 3), np.float32)
        found = jax.eval_shape(self.apply, self.variables, one)
        return ("map", *(name for name in found if name != "map" and (not self.tile or name in OUTPUTS)))

    def predict(
        self, images: Images, *, size: int | None = None, outputs: Outputs = None, classes: bool = False
    ) -> Any:
        """Defect maps, float32 in [0, 1], each at its image's own size; or the outputs that are named.

        Args:
          images: uint8 [n h w c] (c = 1 or 3), grey [n h w], one image [h w] or [h w c], a path, an image of PIL's, or
            a list of such, whose sizes may differ. An array with 3 axes is one image where the last is 1 or 3 long,
            else n grey ones.
          size: side of the network's input; None takes the checkpoint's, 0 each image's own size (padded to
            multiples of what it takes by repeating the edge).
          outputs: names of `self.outputs`: `map`; where the network has them `class` float32 [n k], probabilities in
            the order of `self.classes`, and the coarse maps, smaller than the image.
          classes: short for outputs `map` and `class`, as a pair.

        Returns:
          [n h w], [h w] for one image, or a list of [h w] for a list; with `outputs` given, a dict of such by name,
          where `class` is one array for a list too ([k] for one image).

        Raises:
          UserError: another dtype, shape or size, or an output that this network does not have.
        """
        if classes:
            found = self.predict(images, size=size, outputs=("map", "class"))
            return found["map"], found["class"]
        wanted = ("map",) if outputs is None else outputs
        maps, full = self._predict(images, self.size if size is None else size, wanted)
        found = {"map": maps, **full}
        return maps if outputs is None else {name: found[name] for name in chosen(wanted, found)}

    def predict_full(self, images: Images, *, size: int | None = None) -> dict[str, Any]:
        """`predict` with all outputs that the network has."""
        maps, full = self._predict(images, self.size if size is None else size, None)
        return {**full, "map": maps}

    def predict_small(self, images: Sequence[UInt8[np.ndarray, "_ _ _"]], full: int = 0) -> dict[str, np.ndarray]:
        """Maps [n s s] of images of any sizes as the network gives them, at its own input size; and `class` where it
        gives one. For callers that enlarge maps themselves, many at a time.

        One graph of the network is compiled for each `full`, to which the batch is filled up; of the images' sizes,
        only for the way down to the network's.
        """
        stacks, n = [one_of(image, i) for i, image in enumerate(images)], len(images)
        full = max(full, n)
        if len({s.shape for s in stacks}) == 1 and full * stacks[0].size <= 3 * MAX_PIXELS:
            x = self.shrink(pad_to(np.concatenate(stacks), full), self.size)
        else:
            x = jnp.concatenate([self.shrink(stack, self.size) for stack in stacks])
            x = jnp.concatenate([x, jnp.repeat(x[-1:], full - n, axis=0)])
        return {k: np.asarray(v)[:n] for k, v in self._apply(self.variables, x).items() if k in ("map", "class")}

    def _predict(
        self, images: Any, size: int, outputs: str | Sequence[str] | None
    ) -> tuple[Prediction, dict[str, Any]]:
        """The maps, and the other outputs that are named; None = all."""
        size = self._checked(size)
        images = as_arrays(images, rendering_of_model(self))
        if self.tile:
            return self._in_tiles(images, size, outputs)
        if isinstance(images, list):
            stacks = [one_of(image, i) for i, image in enumerate(images)]
            if len({s.shape for s in stacks}) <= 1 and stacks:
                maps, full = self._predict(np.concatenate(stacks), size, outputs)
                return list(maps), full
            if not stacks:
                maps, full = self._predict(np.zeros((0, 32, 32, 1), np.uint8), size, outputs)
                return list(maps), full
            if size:
                return self._mixed(stacks, size, outputs)
            each = [self._batches(stack, size, outputs) for stack in stacks]
            # Without a common size the coarse maps differ in shape, so that they come as lists.
            full: dict[str, Any] = {k: [out[k][0] for out in each] for k in each[0] if k != "map"}
            if "class" in full:
                full["class"] = np.stack(full["class"])
            return [out["map"][0] for out in each], full
        stack, single = stack_of(images)
        out = self._batches(stack, size, outputs)
        out = {k: v[0] for k, v in out.items()} if single else out
        return out.pop("map"), out

    def _checked(self, size: int) -> int:
        if size < 0 or size % self.entry.multiple:
            raise UserError(f"size: {size} is not a multiple of {self.entry.multiple} (0 keeps each image's own size)")
        return size

    def _in_tiles(
        self, images: Any, size: int, outputs: str | Sequence[str] | None
    ) -> tuple[Prediction, dict[str, Any]]:
        """As `_predict`, of images in tiles. size: of a tile at the network."""
        array = not isinstance(images, list)
        stack, single = stack_of(images) if array else (images, False)
        each = list(stack) if array else [one_of(image, i)[0] for i, image in enumerate(stack)]
        found = [_wanted(one, outputs) for one in tile_answers_of(self, each, size)]
        maps, full = [one.pop("map") for one in found], dict[str, Any]()
        if not found:
            return np.zeros((0, *np.shape(stack)[1:3]), np.float32) if array else [], full
        full = {name: found[0][name] if single else np.stack([one[name] for one in found]) for name in found[0]}
        return maps[0] if single else np.stack(maps) if array else maps, full

    def _batches(
        self, images: UInt8[np.ndarray, "n h w c"], size: int, outputs: str | Sequence[str] | None
    ) -> dict[str, np.ndarray]:
        """One image size: cut into batches, the last one padded by repeating its last image."""
        n, h, w, _ = images.shape
        most = max(1, min(self.batch, MAX_PIXELS // max(h * w, max(size, 1) ** 2)))
        if n == 0:
            shapes = jax.eval_shape(partial(self.forward, size=size), self.variables, np.zeros((1, h, w, 1), np.uint8))
            return {k: np.zeros((0, *v.shape[1:]), v.dtype) for k, v in _wanted(shapes, outputs).items()}
        parts = []
        for start in range(0, n, most):
            part = images[start : start + most]
            out = self._run(self.variables, pad_to(part, most if n > most else power(len(part))), size)
            parts.append((_wanted(out, outputs), len(part)))
        done = [{k: np.asarray(v)[:count] for k, v in out.items()} for out, count in parts]
        return {k: np.concatenate([out[k] for out in done]) for k in done[0]}

    def _mixed(
        self, stacks: list[np.ndarray], size: int, outputs: str | Sequence[str] | None
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """Images of several sizes through full batches: only the two resizes are compiled for each image size."""
        maps: list[np.ndarray] = []
        done = []
        for start in range(0, len(stacks), self.batch):
            part = stacks[start : start + self.batch]
            x = jnp.concatenate([self.shrink(stack, size) for stack in part])
            padded = self.batch if len(stacks) > self.batch else power(len(part))
            x = jnp.concatenate([x, jnp.repeat(x[-1:], padded - len(part), axis=0)])
            out = _wanted(self._apply(self.variables, x), outputs)
            small = out.pop("map")
            maps += [np.asarray(self.enlarge(small[i : i + 1], *s.shape[1:3]))[0] for i, s in enumerate(part)]
            done.append({k: np.asarray(v)[: len(part)] for k, v in out.items()})
        return maps, {k: np.concatenate([out[k] for out in done]) for k in done[0]}


def _wanted(found: Mapping[str, Any], outputs: str | Sequence[str] | None) -> dict[str, Any]:
    """The map and what is named of a network's outputs, still on the device: the rest is never copied."""
    return {name: found[name] for name in (found if outputs is None else ("map", *chosen(outputs, found)))}


def load(path: str | Path, which: str = "best", fold: bool = True, batch: int = 16) -> Model:
    """The model of a run folder: `which` = `best` (by the recipe's metric) or `last`.

    Raises:
      UserError: no run folder there, or its checkpoint is absent, damaged or of another version.
    """
    if not Path(path).is_dir():
        raise UserError(f"{path}: no such run folder; give the --out folder of a training run")
    variables, config, meta = load_variables(path, which)
    if config.method != "saliency":
        raise UserError(
            f"{path}: a run of method {config.method!r}, which leaves no maps; its backbone.npz is for fits"
        )
    missing = [key for key in ("classes", "mean", "std") if key not in meta]
    if missing:
        raise UserError(f"{Path(path) / 'meta.json'}: lacks {', '.join(missing)}; copy the whole run folder")
    # Of the variables as they were saved: what folding makes of them may differ in a last digit between machines.
    meta, now = {**meta, "weights_sha256": weights_digest(variables)}, moved(path)
    if now and now.weights == meta["weights_sha256"]:
        at = min(1.0, meta["metrics"].get("threshold", PLAIN) * now.factor)
        meta |= {"metrics": {**meta["metrics"], "threshold": at}, "threshold_is": now.how}
    return Model(variables, config, meta, fold, batch)


def _enlarge(maps: Float[Array, "n s t"], height: Any, width: Any) -> Float[Array, "n _ _"]:
    """height, width: of the result; in an exported graph they may be left open."""
    if maps.shape[1:] == (height, width):
        return maps
    return jnp.clip(jax.image.resize(maps, (maps.shape[0], height, width), "linear"), 0.0, 1.0)
