"""The segmentation network of a recipe: its module, and its two halves as pure functions. Knows nothing of training."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from jaxqc.errors import UserError
from jaxqc.models.segmenter import build_language_segmenter, build_segmenter
from jaxqc.semi.language import Phrases
from jaxqc.semi.recipe import SemiTrainConfig

OPTIONAL = (("represent", "represent"), ("alone", "channels"), ("relate", "channels"))
"""Methods of a network that not all have, each with the attribute that tells."""


@dataclass(frozen=True)
class EncoderDecoder:
    """A segmentation network as two pure functions, without batch statistics.

    encode: (params, images [b h w 3]) → features, a pytree of [b ... c]. decode: (params, features, (height, width)) →
    logits [b height width k]. represent: the same → logits, and features of pixels [b h w d] on a grid of its own
    (`jaxqc.semi.contrast`); None where the network has none. relate: (params, labelled, unlabelled features, memory,
    key) → both, changed by each other, and what a memory keeps; alone: (params, features) → features, as images are
    used; None where features go to `decode` as they are.
    """

    encode: Callable[[Any, Array], Any]
    decode: Callable[[Any, Any, tuple[int, int]], Array]
    represent: Callable[[Any, Any, tuple[int, int]], tuple[Array, Array]] | None = None
    alone: Callable[[Any, Any], Any] | None = None
    relate: Callable[..., tuple[Any, Any, Array]] | None = None

    def __call__(self, params: Any, image: Float[Array, "b h w c"]) -> Float[Array, "b h w k"]:
        """Logits at the image's size."""
        features = self.encode(params, image)
        features = features if self.alone is None else self.alone(params, features)
        return self.decode(params, features, (image.shape[1], image.shape[2]))


def halves_of(module: nn.Module) -> EncoderDecoder:
    """The halves of a flax module with methods `encode(image)` and `decode(features, size)` and only `params`, and
    `represent(features, size)`, `alone(features)` and `relate(labelled, unlabelled, memory, key)` where it has them."""
    run: Any = lambda method: lambda params, *given: module.apply({"params": params}, *given, method=method)
    return EncoderDecoder(
        run("encode"),
        run("decode"),
        *(run(name) if getattr(module, has, None) is not None else None for name, has in OPTIONAL),
    )


def outputs_of(params: Any) -> int:
    """Number of the classes that a network of such parameters tells apart."""
    head = params["head"]
    return (head["text"]["owner"] if "text" in head else head["logits"]["bias"]).shape[-1]


def learned(params: Any, part: str) -> Any:
    """1 for each array that learns, else 0, as `params`, of a decoder of phrases: their embeddings stay. With `part`
    `attention` all of the encoder stays but attention and positions.

    Examples:
      >>> params = {"encoder": {"blocks_0": {"qkv": 1, "c_fc": 2}, "proj": 3}, "head": {"text": {"values": 4}}}
      >>> learned(params, "attention")
      {'encoder': {'blocks_0': {'c_fc': 0.0, 'qkv': 1.0}, 'proj': 0.0}, 'head': {'text': {'values': 0.0}}}
    """

    def factor(path: Any, leaf: Any) -> float:
        names = [str(step.key) for step in path]
        if names[:2] == ["head", "text"]:
            return 0.0
        attention = {"qkv", "out", "positional_embedding"}.intersection(names)
        return float(names[0] != "encoder" or part == "all" or bool(attention))

    return jax.tree_util.tree_map_with_path(factor, params)


def deployed(params: Any) -> Any:
    """Parameters without those that serve training alone.

    Examples:
      >>> deployed({"encoder": {}, "head": {"logits": 1, "represent": 2}})
      {'encoder': {}, 'head': {'logits': 1}}
    """
    if not isinstance(params, Mapping) or "represent" not in params.get("head", ()):
        return params
    return {**params, "head": {name: x for name, x in params["head"].items() if name != "represent"}}


def make_network(
    config: SemiTrainConfig, classes: int, prior: tuple[float, ...] = (), phrases: Phrases | None = None
) -> nn.Module:
    """The segmenter of a recipe. A ResNet has its batch norm folded into its kernels: nothing depends on the batch.

    prior: share of each class among the labelled pixels, where the head's bias starts; () = all the same. phrases: of
    a decoder of phrases that is trained; None where they come with its parameters.

    Raises:
      UserError: an unknown encoder, or a width that is not 1.

    Examples:
      >>> from jaxqc.config import ModelConfig
      >>> network = make_network(SemiTrainConfig(model=ModelConfig("vit_tiny14")), classes=3)
      >>> network.head.classes
      3
    """
    if config.model.width != 1:
        raise UserError(f"model.width={config.model.width}: an encoder has the width of its name; leave it at 1")
    net = config.model
    if config.semi.language.decoder:
        given = (None, None) if phrases is None else (phrases.values, phrases.owner)
        return build_language_segmenter(net.name, classes, net.dtype, *given)
    return build_segmenter(
        net.name,
        classes,
        net.dtype,
        config.hidden,
        prior=prior,
        attention=config.attention,
        folded=True,
        layers=config.layers,
        represent=config.semi.contrast.width if config.semi.contrast.weight else 0,
        heads=config.semi.memory.heads,
        head=config.head,
        stride=config.output_stride,
        multi_grid=config.multi_grid,
    )
