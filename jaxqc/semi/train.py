"""From images of which few have labels to a segmentation run: lists, network and start, then the one loop."""

import math
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from jaxqc.config import TrainConfig
from jaxqc.data.depth import dark_values
from jaxqc.data.problems import printable
from jaxqc.data.rendering import rendering_of
from jaxqc.errors import UserError
from jaxqc.models.clip import CLIP_MEAN, CLIP_STD, CLIPS, clip_spec
from jaxqc.models.dinov2 import VITS
from jaxqc.models.resnet import IMAGENET_MEAN, IMAGENET_STD, LAYERS
from jaxqc.models.segmenter import encoder_spec, with_encoder
from jaxqc.semi import feed
from jaxqc.semi.check import SplitReport, check_splits
from jaxqc.semi.data import Splits, read_list, read_splits, write_splits
from jaxqc.semi.guiding import judged
from jaxqc.semi.language import Guide, Phrases, read_phrases
from jaxqc.semi.losses import balanced_weights
from jaxqc.semi.manifest import FILES, Manifest, read_manifest, write_manifest
from jaxqc.semi.method import SemiMethod
from jaxqc.semi.network import halves_of, make_network
from jaxqc.semi.recipe import SemiTrainConfig
from jaxqc.semi.suspects import suspects
from jaxqc.training.checkpoint import steps_in
from jaxqc.training.logs import read_rows
from jaxqc.training.loop import RunResult, run
from jaxqc.training.state import from_host
from jaxqc.weights.load import Weights, load_weights

MOST_MAP = 100e6
"""Most bytes of a transformer's map of attention to the memory, for each labelled image."""
LISTS = "splits"
"""Folder of a run that keeps its lists and manifest."""


def train_semi(
    config: TrainConfig,
    data: str | Path,
    out: str | Path,
    *,
    resume: bool = True,
    progress: bool = True,
    note: Callable[[str], None] | None = None,
) -> RunResult:
    """Trains a member of the family and leaves a run folder in `out`.

    Args:
      config: a `SemiTrainConfig`.
      data: folder that the paths in the lists of `config.views.splits` start from.
      note: takes lines worth showing; None prints nothing.

    Raises:
      UserError: whatever is wrong with recipe, lists, masks, weights or folder. SystemExit: 143 after SIGTERM.
    """
    if not isinstance(config, SemiTrainConfig):
        raise UserError(f"method: {config.method!r} goes with a SemiTrainConfig (jaxqc.semi.recipe), not a TrainConfig")
    if not isinstance(data, str | Path):
        raise UserError("train: a recipe with few labels takes the data's folder, which its lists start from")
    root, out, say = Path(data), Path(out), note or (lambda text: None)
    splits, manifest = open_lists(config, root)
    started = bool(steps_in(out / "checkpoints"))
    if started:
        _same_lists(out / LISTS, splits, manifest)
    report = check_splits(splits, root, manifest, max(phase.batch for phase in config.phases))
    if not report.pixels["select"][:-1].any():
        raise UserError(
            "select.txt: no pixel of its masks has a class, so that nothing can choose a checkpoint by them"
        )
    ignored = report.pixels["labeled"][-1] / max(1, report.pixels["labeled"].sum())
    shown = np.flatnonzero(report.pixels["labeled"][:-1])
    if len(shown) == 1:
        raise UserError(
            f"labeled.txt: its masks show one class alone, {manifest.classes[shown[0]]!r} ({ignored:.2%} of the pixels"
            " have no label): nothing can be learned; mend manifest or masks, or make lists with a larger --labeled"
        )
    left_out = [f"labelled images: {ignored:.2%} of the pixels have no label and are left out"] if ignored else []
    for line in [*left_out, *report.remarks(), *_lonely(config)]:
        say(line)
    start = encoder_weights(config)
    method = make_method(config, manifest, report, start)
    if jax.process_index() == 0 and not started:
        write_splits(out / LISTS, splits)
        write_manifest(out / LISTS / FILES[0], manifest.ignoring)
    rendering = rendering_of(config.data)
    for line in dark_values([root / pair.image for part in splits.values() for pair in part], rendering):
        say(line)
    parts = feed.readers(splits, root, manifest, config.data.mode == "resident", rendering)
    method = judged(method, parts["labeled"], say)
    views = config.views
    train = feed.ViewSet(
        parts["labeled"],
        parts["unlabeled"],
        config.semi.unlabelled,
        (views.scale_min, views.scale_max),
        views.flip,
    )
    val = feed.whole_images(parts["select"], printable(root.name), config.eval_size)
    meta: dict[str, Any] = {**asdict(manifest.ignoring), "mean": method.mean, "std": method.std}
    meta |= {"dataset": printable(root.name), "images": report.images}
    meta |= {"start": start.meta() if start else "drawn at random"}
    result = run(method, config, train, val, out, resume=resume, progress=progress, meta=meta)
    select = report.pixels["select"]
    losses = [row.get("loss") for row in read_rows(out / "metrics.jsonl") if row.get("kind") == "train"]
    last = math.nan if not losses or losses[-1] is None else losses[-1]
    seen = int(np.count_nonzero(select[:-1]))
    for line in suspects(result.metrics.get("miou", math.nan), select[-1] / select.sum(), seen, last):
        say(line)
    return result


def _same_lists(folder: Path, splits: Splits, manifest: Manifest) -> None:
    """Raises UserError where an interrupted run began with other selection images or labels: its best value would then
    be compared with one of another kind. (The images that it learns from are compared with its checkpoint.)"""
    if not folder.is_dir():
        return
    where = printable(folder)
    if read_list(folder / "select.txt") != splits["select"]:
        raise UserError(
            f"select.txt: not as in {where}, with which this run began; put that back or choose another --out"
        )
    if read_manifest(folder).ignoring != manifest.ignoring:
        raise UserError(
            f"manifest: not as in {where}, with which this run began; put that back or choose another --out"
        )


def _lonely(config: SemiTrainConfig) -> list[str]:
    """A warning where a device sees one image at a time: it is then its own partner."""
    devices = config.devices or jax.device_count()
    phases = [p for p in config.phases if p.batch == devices * config.optim.accumulate]
    if not (phases and config.semi.views and config.semi.cutmix.probability):
        return []
    return [
        f"a batch of {phases[0].batch} on {devices} devices x {config.optim.accumulate} micro-batches is one image"
        " each: CutMix has no partner and does nothing; lower optim.accumulate"
    ]


def open_lists(config: SemiTrainConfig, root: Path) -> tuple[Splits, Manifest]:
    """The lists and the manifest that a recipe names.

    Raises:
      UserError: one of them is absent or malformed.
    """
    folder = Path(config.views.splits or root)
    own = any((folder / name).is_file() for name in FILES)
    return read_splits(folder), read_manifest(config.views.manifest or (folder if own else root))


def encoder_weights(config: SemiTrainConfig) -> Weights | None:
    """The weights that the encoder starts from; None where it is drawn.

    Raises:
      UserError: an unknown encoder, a number of layers that it cannot have, or a file that does not fit.
    """
    encoder_spec(config.model.name, config.layers)
    # Of a whole ResNet a file may lack the deepest layers, which then are drawn.
    layers = LAYERS[: config.layers] if config.layers < len(LAYERS) else None
    return load_weights(config.weights, config.model.name, layers) if config.weights else None


def make_method(
    config: SemiTrainConfig, manifest: Manifest, report: SplitReport | None = None, start: Weights | None = None
) -> SemiMethod:
    """The method of a recipe for a data set. report: its labelled pixels give the start of the head's bias.

    Raises:
      UserError: crops that do not fit the encoder, weights of another one, or an attention that this machine lacks.
    """
    _check_attention(config)
    pixels = np.zeros(0) if report is None else report.pixels["labeled"][:-1]
    prior = tuple((pixels / pixels.sum()).tolist()) if pixels.sum() > 0 else ()
    words = open_language(config, manifest.classes)
    given = {} if words is None else {"phrases": words[0]}
    module = make_network(config, len(manifest.classes), prior, **given)
    mean, std = (CLIP_MEAN, CLIP_STD) if config.model.name in CLIPS else (IMAGENET_MEAN, IMAGENET_STD)
    multiple = encoder_spec(config.model.name).multiple
    for i, phase in enumerate(config.phases):
        if phase.size % multiple:
            near = max(1, round(phase.size / multiple)) * multiple
            raise UserError(f"phases.{i}.size={phase.size} is not a multiple of {multiple}; the nearest is {near}")
    encoder = dict(start.folded() if "batch_stats" in start.variables else start.variables) if start else None

    config.semi.contrast.ranks(len(manifest.classes))
    _check_memory(config, len(manifest.classes))
    _check_epochs(config)
    count = report.images.get("unlabeled", 0) if report else 0
    return SemiMethod(
        config.semi,
        manifest.classes,
        halves_of(module),
        lambda key: _start(module, encoder, key, config.phases[0].size),
        multiple=multiple,
        head_rate=config.head_rate,
        lr_scale=config.lr_scale,
        long_side=config.long_side,
        window=config.window,
        peak_tflops=config.peak_tflops,
        epoch_steps=max(1, count // config.phases[0].batch),
        mean=mean,
        std=std,
        size=config.phases[0].size,
        guide=None if words is None else words[1],
        total_steps=max(1, round(sum(count // phase.batch * phase.epochs for phase in config.phases))),
        class_weights=tuple(balanced_weights(pixels, config.semi.balance)) if config.semi.balance else (),
    )


def open_language(config: SemiTrainConfig, classes: tuple[str, ...]) -> tuple[Phrases, Guide | None] | None:
    """The phrases of a recipe with words, and its guide; None of another. No file, no method: nothing is drawn here.

    Raises:
      UserError: a file that is not named, or cannot be used.
    """
    chosen = config.semi.language
    if not chosen.decoder:
        return None
    if not chosen.embeddings:
        raise UserError(
            "semi.language.embeddings: no file of the classes' phrases, without which there is no SemiVL; make one by"
            " jaxqc convert CLIP words.npz --text 'a photo of a {}' --names A,B"
        )
    if not config.weights:
        raise UserError("weights: SemiVL starts from CLIP's; name its file (model.safetensors)")
    if (name := config.model.name) not in CLIPS:
        raise UserError(f"model.name: {name!r} has no words; with semi.language.decoder take {', '.join(CLIPS)}")
    phrases = read_phrases(chosen.embeddings, classes, clip_spec(name).embed)
    if not chosen.guide:
        return phrases, None
    return phrases, Guide(name, load_weights(chosen.guide, name).variables["params"], chosen.guide_confidence)


def _check_memory(config: SemiTrainConfig, classes: int) -> None:
    """Raises UserError where a memory of channels cannot be: its positions are those of one size of crops."""
    if not config.semi.memory.heads:
        return
    if len({phase.size for phase in config.phases}) > 1:
        raise UserError("phases: semi.memory keeps channels over the positions of one size; give all phases the same")
    wide = config.semi.memory.heads * encoder_spec(config.model.name, config.layers).widths[-1]
    if config.model.name in VITS and (size := 4 * wide * classes * wide) > MOST_MAP:
        raise UserError(
            f"semi.memory.heads={config.semi.memory.heads}: attention of {config.model.name} with {classes} classes has"
            f" maps of {size / 1e6:.0f} MB an image; take a ResNet, or heads=0"
        )


def _check_epochs(config: SemiTrainConfig) -> None:
    """Raises UserError where a schedule goes by epochs, which are counted in steps of one batch, and batches differ."""
    semi = config.semi
    by_epochs = {"semi.teachers": semi.teachers == 2, "semi.unsup": semi.unsup.timed, "semi.memory": semi.memory.heads}
    named = [name for name, goes in by_epochs.items() if goes]
    if named and len({phase.batch for phase in config.phases}) > 1:
        raise UserError(f"phases: {', '.join(named)} go by epochs of one batch; give all phases the same batch")


def _check_attention(config: SemiTrainConfig) -> None:
    if config.attention != "cudnn" or config.model.name not in VITS:
        return
    if config.model.dtype == "float32":
        raise UserError("attention='cudnn' takes half precision only; set model.dtype='bfloat16', or attention='auto'")
    if (here := jax.default_backend()) != "gpu":
        raise UserError(f"attention='cudnn' needs a GPU, and JAX has a {here} here; 'auto' takes what goes")


def _start(module: nn.Module, encoder: Any, key: Key[Array, ""], size: int) -> Any:
    drawn: Any = module.init(key, jnp.zeros((1, size, size, 3)))
    return drawn["params"] if encoder is None else with_encoder(drawn, from_host(encoder))[0]["params"]
