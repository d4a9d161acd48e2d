"""An export ready for use: uint8 images in, what the checkpoint's own `predict` gives out. Needs JAX and no network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export as jax_export
from jaxtyping import UInt8

from jaxqc.data.batching import MAX_PIXELS, Images, as_arrays, one_of, pad_to, power, stack_of
from jaxqc.data.colour import in_colour
from jaxqc.data.problems import printable
from jaxqc.data.rendering import rendering_of_model
from jaxqc.data.resizing import resize_image, resize_map
from jaxqc.errors import UserError
from jaxqc.export.engines import ENGINES, XLA, Run, installed
from jaxqc.export.folder import ONNX, Contents, read
from jaxqc.export.parity import compare, differences
from jaxqc.metrics.regions import without_specks
from jaxqc.outputs import OF_IMAGE, Outputs, chosen


class Exported:
    """The graph, its weights on the device, and the record.

    `source`: the kind that was exported, as `jaxqc.kinds.KINDS` has it. `folder`: its own. `classes`, `thresholds`,
    `meta`: as meta.json has them. `engine`: what runs it; "" = not decided yet.
    `height`, `width`: of the images that the graph takes, 0 = any (a detector's images
    are resized first, whatever their size).

    Examples:
      >>> from jaxqc import fit
      >>> from jaxqc.anomaly.recipe import BackboneConfig, FitConfig, FitDataConfig
      >>> from jaxqc.data.synthetic.boards import write_mvtec
      >>> from jaxqc.export import write
      >>> backbone = BackboneConfig("resnet18", weights="synthetic-resnet18", layers=(1,))
      >>> boards = write_mvtec("boards", normals=4, defects=2, size=32)
      >>> config = FitConfig(backbone=backbone, data=FitDataConfig(size=32), pasted=0)
      >>> fitted = fit(config, boards, progress=False)
      >>> meta = write(fitted.model, "exported", platforms=("cpu",))
      >>> load("exported").predict(np.zeros((2, 32, 32, 3), np.uint8)).shape
      (2, 32, 32)
    """

    kind = "export"
    """Its entry of `jaxqc.kinds.KINDS`."""

    def __init__(self, contents: Contents, batch: int = 16) -> None:
        """`batch`: most images on the device at once, where the graph leaves that open."""
        meta = self.meta = contents.meta
        self.source: str = meta["kind"]
        self.mixes_sizes = self.source == "anomaly"
        self.folder = contents.graph.parent
        self.classes: tuple[str, ...] = tuple(meta["classes"])
        self.thresholds: dict[str, Any] = meta["thresholds"]
        self._fixed, self.height, self.width, _ = (n if isinstance(n, int) else 0 for n in meta["input"]["shape"])
        self.batch = self._fixed or batch
        self.engine = XLA if meta["graph"] == "stablehlo" else ""
        self._golden = contents.golden
        self._run: Run | None = _compiled(contents) if self.engine else None

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names that `predict` takes, the default first."""
        there = list(self.meta["outputs"])
        default = "label" if "label" in there else "map"
        decided = ("defective",) if self.source == "anomaly" else ()
        return (default, *(name for name in there if name != default), *decided)

    def predict(
        self, images: Images, *, size: int | None = None, outputs: Outputs = None, classes: bool = False
    ) -> Any:
        """Defect maps, float32 in [0, 1], each at its image's own size; of a segmentation label maps, uint8; or the
        outputs that are named.

        Args:
          images: uint8 [n h w c] (c = 1 or 3), grey [n h w], one image [h w] or [h w c], a path, an image of PIL's, or
            a list of such. An array with 3 axes is one image where the last is 1 or 3 long, else n grey ones.
          size: None: the graph has the network's input size in it.
          outputs: names of `self.outputs` (`meta["outputs"]` has their meanings, shapes and dtypes).
          classes: short for the default output and `class`, as a pair.

        Returns:
          [n h w], [h w] for one image, or a list of [h w] for a list; with `outputs` given, a dict of such by name,
          where `class`, `score` and `defective` are one array for a list too.

        Raises:
          UserError: another dtype or shape, a size that the graph does not take, or an output that it does not have.
        """
        if size is not None:
            raise UserError(f"size: {size}; an export sees images at the size it was made for; leave it out")
        default = self.outputs[0]
        if classes:
            found = self.predict(images, outputs=(default, "class"))
            return found[default], found["class"]
        names = (default,) if outputs is None else chosen(outputs, self.outputs)
        found = self.predict_full(images)
        return found[default] if outputs is None else {name: found[name] for name in names}

    def predict_full(self, images: Images) -> dict[str, Any]:
        """`predict` with all outputs that the graph has."""
        handed: Any = as_arrays(images, rendering_of_model(self))
        if not isinstance(handed, list):
            stack, single = stack_of(handed)
            found = self._stack(stack)
            return {name: value[0] for name, value in found.items()} if single else found
        stacks = [one_of(image, i) for i, image in enumerate(handed)]
        if not stacks:
            none = self._stack(np.zeros((0, self.height or 1, self.width or 1, 1), np.uint8))
            return {name: values if name in OF_IMAGE else [] for name, values in none.items()}
        groups: dict[tuple[int, ...], list[int]] = {}
        for i, stack in enumerate(stacks):
            groups.setdefault(stack.shape, []).append(i)
        each: list[dict[str, np.ndarray]] = [{} for _ in stacks]
        for group in groups.values():
            found = self._stack(np.concatenate([stacks[i] for i in group]))
            for at, i in enumerate(group):
                each[i] = {name: value[at] for name, value in found.items()}
        lists = {name: [one[name] for one in each] for name in each[0]}
        return {name: np.stack(values) if name in OF_IMAGE else values for name, values in lists.items()}

    @property
    def run(self) -> Run:
        """The graph: images of its size, as many as it takes, → outputs by name. An ONNX file without a word on the
        engine is opened by the first one that is installed."""
        if self._run is None:
            there = next(filter(installed, ENGINES), None)
            if there is None:
                folder, names = printable(self.folder), ", ".join(ENGINES)
                raise UserError(f"{folder}: an ONNX export; none of {names} is installed; pip install 'jaxqc[onnx]'")
            self.open_by(there)
        assert self._run is not None
        return self._run

    def open_by(self, name: str) -> "Exported":
        """This export in the engine of this name, once it gives the golden outputs.

        Raises:
          UserError: the engine does not take the graph, or gives other outputs.
        """
        if name == self.engine:
            return self
        before, self._run = self._run, ENGINES[name](self.folder / ONNX)
        try:
            compare(name, self.batches(self._golden["image"]), self._expected, self.meta["dtype"])
        except BaseException:  # an engine that was refused answers nothing later
            self._run = before
            raise
        self.engine = name
        return self

    def check(self) -> dict[str, float]:
        """Differences of the golden outputs on this machine, by output (`jaxqc.export.parity.differences`)."""
        return differences(self.batches(self._golden["image"]), self._expected)

    @property
    def _expected(self) -> dict[str, np.ndarray]:
        return {name: value for name, value in self._golden.items() if name != "image"}

    def _stack(self, images: UInt8[np.ndarray, "n h w c"]) -> dict[str, np.ndarray]:
        height, width = images.shape[1:3]
        if self.source == "anomaly":
            small = [resize_image(image, (self.height, self.width)) for image in images]
            found = self.batches(np.stack(small) if small else np.zeros((0, self.height, self.width, 3), np.uint8))
            return self.at_own_size(found, height, width)
        if self.height and (height, width) != (self.height, self.width):
            raise UserError(
                f"images: {width} x {height} pixels, this export takes {self.width} x {self.height}; resize them, or "
                f"export again with --width {width} --height {height}"
            )
        return self.batches(images)

    def at_own_size(self, found: dict[str, np.ndarray], height: int, width: int) -> dict[str, np.ndarray]:
        """A detector's outputs at the image's own size, as `AnomalyModel.inspect` has them."""
        full = lambda name: [resize_map(x.astype(np.float32), height, width) for x in found[name]]
        stack = lambda maps, dtype: np.stack(maps) if maps else np.zeros((0, height, width), dtype)
        distance = stack(full("distance"), np.float32)
        scaled = np.clip(distance / (2 * self.thresholds["pixel"]), 0, 1).astype(np.float32)
        masks = [without_specks(x >= 0.5, self.meta["smallest"]) for x in full("mask")]
        defective = found["score"] >= np.float32(self.thresholds["image"])
        own = {"map": scaled, "distance": distance, "mask": stack(masks, bool), "defective": defective}
        return found | own

    def batches(self, images: UInt8[np.ndarray, "n h w c"]) -> dict[str, np.ndarray]:
        """Outputs for images of the graph's size, cut into batches, the last one filled with its last image."""
        images = in_colour(images)
        n, height, width, _ = images.shape
        if not n:
            known = {"h": height, "w": width}
            sizes = {k: [known.get(s, s) for s in v["shape"][1:]] for k, v in self.meta["outputs"].items()}
            return {k: np.zeros((0, *sizes[k]), v["dtype"]) for k, v in self.meta["outputs"].items()}
        most = self._fixed or max(1, min(self.batch, MAX_PIXELS // (height * width)))
        parts = []
        for start in range(0, n, most):
            part = images[start : start + most]
            full = most if self._fixed or n > most else power(len(part))
            parts.append((self.run(pad_to(part, full)), len(part)))
        done = [{name: np.asarray(value)[:count] for name, value in out.items()} for out, count in parts]
        return {name: np.concatenate([out[name] for out in done]) for name in done[0]}


def load(path: str | Path, batch: int = 16) -> Exported:
    """Opens an export. batch: most images on the device at once.

    Raises:
      UserError: no export there, a newer or damaged one, or one of other platforms than this machine's.

    Examples:
      >>> load("nothing")
      Traceback (most recent call last):
      jaxqc.errors.UserError: nothing: no export there; make one with jaxqc export --checkpoint RUN --out nothing
    """
    contents = read(path)
    if batch < 1:
        raise UserError(f"batch: {batch} must be 1 or more")
    return Exported(contents, batch)


def engine(model: Exported, name: str, opened: Callable[..., Any] | None) -> Exported:
    """The export in the engine of this name; `opened` is of no use, since the graph is there already.

    Raises:
      UserError: XLA for an ONNX file, or another engine for StableHLO.
    """
    graph, where = model.meta["graph"], printable(model.folder)
    if graph == "stablehlo" and name != XLA:
        raise UserError(
            f"--engine {name}: {where} is a StableHLO export; take --engine {XLA}, or export with --format onnx"
        )
    if graph == "onnx" and name == XLA:
        raise UserError(
            f"--engine {name}: {where} is an ONNX export; take another --engine, or export with --format stablehlo"
        )
    return model.open_by(name)


def _compiled(contents: Contents) -> Run:
    graph, weights = _deserialized(contents), jax.device_put(contents.weights)
    call = jax.jit(graph.call)
    return lambda images: call(weights, images)


def _deserialized(contents: Contents) -> jax_export.Exported:
    name, written = printable(contents.graph), contents.meta.get("versions", {}).get("jax", "another version")
    try:
        graph = jax_export.deserialize(bytearray(contents.graph.read_bytes()))
    except Exception as e:  # its bytes are as they were written: this JAX does not know their version
        raise UserError(
            f"{name}: written by jax {written}, which jax {jax.__version__} cannot read ({str(e)[:200]}); export again"
        ) from e
    here = jax_export.default_export_platform()
    if here not in graph.platforms:
        raise UserError(
            f"{name}: made for {', '.join(graph.platforms)}, this machine runs {here}; export again with --platforms "
            f"{' '.join(graph.platforms)} {here}"
        )
    return graph
