"""A tiny segmentation set, and a recipe of few labels that trains on it in seconds."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import flax.linen as nn
import numpy as np
import pytest
from PIL import Image

from jaxqc.config import DataConfig, ModelConfig, OptimConfig, Phase
from jaxqc.models.channel_attention import ChannelAttention
from jaxqc.semi.data import Pair, write_splits
from jaxqc.semi.recipe import SemiTrainConfig, preset

SIDE = 28
CLASSES = ("background", "bright", "dark")


def write_images(root: Path, counts: dict[str, int], sizes: tuple[tuple[int, int], ...] = ((SIDE, SIDE),)) -> Path:
    """Grey noise with a bright and a dark rectangle, their masks, the lists and the manifest."""
    rng = np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    splits: dict[str, tuple[Pair, ...]] = {}
    for part, count in counts.items():
        pairs = []
        for i in range(count):
            height, width = sizes[i % len(sizes)]
            image, mask = rng.normal(120, 8, (height, width)), np.zeros((height, width), np.uint8)
            for label, shade in ((1, 210), (2, 40)):
                y, x = rng.integers(0, height - 12), rng.integers(0, width - 12)
                image[y : y + 12, x : x + 12], mask[y : y + 12, x : x + 12] = shade, label
            pair = Pair(f"images/{part}{i}.png", f"masks/{part}{i}.png")
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / pair.image)
            Image.fromarray(mask).save(root / pair.mask)
            pairs.append(pair)
        splits[part] = tuple(pairs)
    if len(splits) == 4:
        write_splits(root, splits)
    (root / "manifest.json").write_text(json.dumps({"classes": CLASSES}))
    return root


def recipe(method: str = "mvpmatch", **changes: Any) -> SemiTrainConfig:
    history = {"history": dataclasses.replace(preset(method).history, length=2, most=2)} if "match" in method else {}
    config = SemiTrainConfig(
        model=ModelConfig("vit_tiny14"),
        data=DataConfig(mode="resident"),
        optim=OptimConfig("adamw", lr=1e-3, weight_decay=0.01, warmup_epochs=0, clip=0),
        hidden=8,
        head_rate=1.0,
        lr_batch=0,
        phases=(Phase(epochs=3, size=SIDE, batch=4),),
        semi=preset(method, **history),
        eval_every_epochs=1,
        eval_batch=4,
        devices=1,
        checkpoint_every_epochs=1,
    )
    return dataclasses.replace(config, **changes)


class Head(nn.Module):
    classes: int
    places: int = 0

    @nn.compact
    def __call__(self, features: Any, both: bool = False) -> Any:
        logits = nn.Dense(self.classes, name="logits")(features)
        if not self.places or not (both or self.is_initializing()):
            return logits
        places = nn.Dense(self.places, name="represent")(features[:, ::2, ::2])
        return (logits, places) if both else logits


class Tiny(nn.Module):
    """A convolution and a linear head: compiles in a second. places: length of places' features."""

    classes: int = len(CLASSES)
    places: int = 0
    channels: ChannelAttention | None = None

    def setup(self) -> None:
        self.encoder, self.head = nn.Conv(8, (3, 3)), Head(self.classes, self.places)

    def __call__(self, image: Any) -> Any:
        features = self.encode(image)
        return self.decode(features if self.channels is None else (self.channels(features[0]),), image.shape[1:3])

    def alone(self, features: Any) -> Any:
        assert self.channels is not None
        return (self.channels.alone(features[0]),)

    def relate(self, labelled: Any, unlabelled: Any, memory: Any, key: Any) -> Any:
        assert self.channels is not None
        one, two, kept = self.channels.relate(labelled[0], unlabelled[0], memory, key)
        return (one,), (two,), kept

    def encode(self, image: Any) -> Any:
        return (nn.relu(self.encoder(image)),)

    def decode(self, features: Any, size: tuple[int, int]) -> Any:
        return self.head(features[0])

    def represent(self, features: Any, size: tuple[int, int]) -> Any:
        return self.head(features[0], both=True)


def use_tiny(patch: pytest.MonkeyPatch) -> None:
    """From here on every recipe trains `Tiny`, whatever encoder it names."""

    def tiny(config: SemiTrainConfig, classes: int, prior: tuple[float, ...] = ()) -> Tiny:
        semi = config.semi
        channels = ChannelAttention(8, semi.memory.heads) if semi.memory.heads else None
        return Tiny(classes, semi.contrast.width if semi.contrast.weight else 0, channels)

    for module in ("train", "model"):
        patch.setattr(f"jaxqc.semi.{module}.make_network", tiny)
