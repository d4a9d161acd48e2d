"""The saliency networks by name: how each is built, its objective, and what its inputs and outputs are.

A new one is a line of `NETWORKS` beside its module and its objective; outside of this package it is an entry point of
the group `jaxqc.networks`, or a `Network` in a recipe (docs/develop/add_a_network.md).
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn

from jaxqc import plugins
from jaxqc.config import ModelConfig, TrainConfig
from jaxqc.data.readers import layout_name
from jaxqc.errors import UserError, suggest
from jaxqc.fields import from_dict, to_dict
from jaxqc.models import Builder, assemble
from jaxqc.models.cklnet import cklnet
from jaxqc.models.corrnet import VGG16, corrnet
from jaxqc.models.ffrnet import ENCODER as FFRNET_ENCODER
from jaxqc.models.ffrnet import ffrnet
from jaxqc.models.gcranet import gcranet
from jaxqc.models.minet import minet
from jaxqc.models.pp_liteseg import pp_liteseg
from jaxqc.models.tscarnet import tscarnet
from jaxqc.models.uctransnet import uctransnet
from jaxqc.models.unet import ENCODER, encoder_epsilon, encoder_multiple, encoder_names, unet
from jaxqc.overrides import override
from jaxqc.saliency import published
from jaxqc.saliency.objectives import Objective, is_objective
from jaxqc.saliency.objectives.cklnet import CKLNetObjective
from jaxqc.saliency.objectives.corrnet import CorrNetObjective
from jaxqc.saliency.objectives.ffrnet import FFRNetObjective
from jaxqc.saliency.objectives.gcranet import GCRANetObjective
from jaxqc.saliency.objectives.minet import MINetObjective
from jaxqc.saliency.objectives.pp_liteseg import PPLiteSegObjective
from jaxqc.saliency.objectives.tscarnet import TSCARNetObjective
from jaxqc.saliency.objectives.uctransnet import UCTransNetObjective
from jaxqc.saliency.objectives.unet import UNetObjective
from jaxqc.saliency.published import Published, is_written, read_published
from jaxqc.training.checkpoint import load_variables
from jaxqc.types import Variables
from jaxqc.weights.load import load_weights


class Network(NamedTuple):
    """One kind of saliency network."""

    build: Builder
    """(classes, width, norm, foreground) → a flax module, called as (image float32 [n h w 3], train, aux) → `map`
    float32 [n h w] in [0, 1]; `class` logits [n k] where it knows classes; the logits named in `maps`; with `aux`
    whatever else its objective reads. classes: at least 1. norm: how to normalise (`jaxqc.nn.conv.Norm`). foreground:
    mean share of defect pixels, for a bias to start at."""
    objective: Objective
    """The loss that it is trained with, with its published weights."""
    multiple: int = 1
    """Both sides of an image must be multiples of this many pixels."""
    maps: tuple[str, ...] = ()
    """Further outputs, logits [n ...], that inference gives as probabilities."""
    start: Callable[[str], Variables] | None = None
    """Pretrained weights (a file, or a short name) → variables that take the place of drawn ones at the same paths."""
    published: Published | None = None
    """Its authors' weights, which `jaxqc convert` reads; a network without a `start` starts from such."""
    epsilon: float = 1e-5
    """Epsilon of its batch norms, by which they are folded."""
    over: Callable[[str], "Network"] | None = None
    """The same network over another encoder, by that one's name: `model.encoder`."""


def unet_over(encoder: str) -> Network:
    """The U-Net over a named encoder.

    Raises:
      UserError: no such encoder.

    Examples:
      >>> unet_over("dinov2_vits14").multiple
      14
    """
    if encoder not in encoder_names():
        raise UserError(f"model.encoder: {encoder!r} is not one{suggest(encoder, encoder_names())}")
    return Network(
        partial(unet, encoder),
        UNetObjective(),
        encoder_multiple(encoder),
        ("classes",),
        partial(_encoder_start, encoder),
        epsilon=encoder_epsilon(encoder),
        over=unet_over,
    )


def _encoder_start(encoder: str, weights: str) -> Variables:
    """An encoder's variables from a file of its weights."""
    return {part: {"encoder": tree} for part, tree in load_weights(weights, encoder).variables.items()}


def _vgg_start(weights: str) -> Variables:
    """CorrNet's first stages from a file of VGG-16's; batch norm takes their biases away again."""
    found = load_weights(weights, "vgg16", (1, 2)).variables["params"]
    return {"params": {name: {"kernel": found[f"conv{place}"]["kernel"]} for name, place in VGG16.items()}}


def _minet_start(weights: str) -> Variables:
    """TSCARNet's first stage from a file of MINet's: encoder and decoder."""
    found, parts = (
        read_published(weights, "minet", published.MINET).variables,
        ("encoder", *(f"d{k}" for k in range(1, 6))),
    )
    return {kind: {name: tree[name] for name in parts} for kind, tree in found.items()}


NETWORKS: dict[str, Network] = {
    "minet": Network(
        minet,
        MINetObjective(),
        multiple=32,
        published=published.MINET,
    ),
    "tscarnet": Network(tscarnet, TSCARNetObjective(), multiple=32, maps=("m1", "m2", "m3"), start=_minet_start),
    "unet": unet_over(ENCODER),
    "corrnet": Network(corrnet, CorrNetObjective(), multiple=32, start=_vgg_start, published=published.CORRNET),
    **{
        f"pp_liteseg_{size}": Network(
            partial(pp_liteseg, size),
            PPLiteSegObjective(),
            multiple=32,
            published=found,
        )
        for size, found in published.PP_LITESEG.items()
    },
    "cklnet": Network(cklnet, CKLNetObjective(), multiple=32),
    "gcranet": Network(gcranet, GCRANetObjective(), multiple=32),
    # Our reading; no code or layer figures are public.
    "ffrnet": Network(ffrnet, FFRNetObjective(), multiple=32, start=partial(_encoder_start, FFRNET_ENCODER)),
    "uctransnet": Network(uctransnet, UCTransNetObjective(), multiple=16, published=published.UCTRANSNET),
}


def find(name: str | Network) -> Network:
    """The network of a recipe's `model.name`.

    Raises:
      UserError: no such network (with the nearest name), or its package is missing, not registered or broken.
    """
    if isinstance(name, Network):
        return name
    if not isinstance(name, str):
        raise UserError(f"model.name: {name!r} is neither a network's name nor a jaxqc.saliency.networks.Network")
    return plugins.resolve("networks", name, NETWORKS, field="model.name", want=Network)


def network_of(model: ModelConfig) -> Network:
    """The network that a recipe's `model` names, over the encoder that it names.

    Raises:
      UserError: as `find`; or an encoder that is unknown, or that this network has no place for.

    Examples:
      >>> network_of(ModelConfig("unet", encoder="resnet18")).multiple
      32
    """
    network = find(model.name)
    if not model.encoder:
        return network
    if network.over is None:
        raise UserError(f"model.encoder={model.encoder!r}: this network has an encoder of its own; leave it out")
    return network.over(model.encoder)


def build(
    name: str | Network,
    classes: int = 3,
    width: float = 1.0,
    dtype: str = "float32",
    folded: bool = False,
    axis_name: str | None = None,
    foreground: float = 0.5,
) -> nn.Module:
    """A saliency network's module; arguments as of `jaxqc.models.assemble`.

    Raises:
      UserError: as `find`; an unknown dtype, `classes` < 1 or `width` <= 0.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(build("minet", width=0.25), 64, 64)["map"]
      (1, 64, 64)
    """
    return assemble(find(name).build, classes, width, dtype, folded, axis_name, foreground)


def objective_of(config: TrainConfig) -> Objective:
    """The objective of a recipe: its own, or else the network's.

    Raises:
      UserError: as `find`; an objective that is not a dataclass to be called, or a stored one of another class.
    """
    own, given = find(config.model.name).objective, config.objective
    if isinstance(given, Mapping):
        given = dict(given)
        if (kind := given.pop("class", None)) != _class_name(own):
            raise UserError(f"objective: stored as one of {kind}; give the recipe that holds it")
        return from_dict(given, type(own), "objective")
    if given is not None and not is_objective(given):
        raise UserError(f"objective: {given!r} is no objective; give a dataclass that is called with (out, batch)")
    return own if given is None else given


def with_objective(config: TrainConfig) -> TrainConfig:
    """The recipe with its network's objective written out, whose weights are then flags; others as they are.

    Raises:
      UserError: as `objective_of`.
    """
    if config.method != "saliency":
        return config
    return dataclasses.replace(config, objective=objective_of(config))


def override_objective(config: TrainConfig, flags: Sequence[str]) -> TrainConfig:
    """`jaxqc.overrides.override` with the flags `--objective.WEIGHT` applied last: the network names their class.

    Raises:
      UserError: as `override` and `objective_of`.
    """
    weights: list[str] = []
    rest: list[str] = []
    part = rest
    for word in flags:  # a flag, or the value of the one before it
        if word.startswith("--"):
            part = weights if word.startswith("--objective.") else rest
        part.append(word)
    return override(with_objective(override(config, rest)), weights)


def storable(config: TrainConfig) -> TrainConfig:
    """The recipe as a run folder keeps it: network and reader by their names, an objective only where it is not the
    network's own, as plain values.

    Raises:
      UserError: as `objective_of`; or a network without a name (`jaxqc.plugins.origin`).
    """
    objective = objective_of(config)
    plain = None
    if objective != find(config.model.name).objective:
        plain = described(objective)
    model = dataclasses.replace(config.model, name=plugins.origin("networks", config.model.name, NETWORKS))
    data = dataclasses.replace(config.data, layout=layout_name(config.data.layout))
    return dataclasses.replace(config, model=model, data=data, objective=plain)


def start_of(config: TrainConfig) -> Variables | None:
    """The variables that `model.weights` stands for; None where all are drawn.

    Raises:
      UserError: as `find`; weights for a network that takes none; a run folder of another network, or a damaged one.
    """
    network, weights = network_of(config.model), config.model.weights
    if not weights:
        return None
    if Path(weights).is_dir():
        return _of_run(Path(weights), config)
    if network.published and (network.start is None or is_written(Path(weights))):
        return read_published(weights, config.model.name, network.published).variables
    if network.start is None:
        raise UserError(f"model.weights={weights!r}: this network has no pretrained encoder; leave it out")
    return network.start(weights)


def _of_run(folder: Path, config: TrainConfig) -> Variables:
    """The best variables of a run folder of the same network."""
    variables, own, _ = load_variables(folder, "best")
    kept, now = own.model, storable(config).model
    if own.method != "saliency" or (kept.name, kept.width, kept.encoder) != (now.name, now.width, now.encoder):
        shown = f"{own.method} {kept.name}, width {kept.width:g}"
        raise UserError(f"model.weights: {folder} holds {shown}, and the recipe is of {now.name}, width {now.width:g}")
    return variables


def described(objective: Objective) -> dict[str, Any]:
    """An objective's class and weights as plain values."""
    return {"class": _class_name(objective), **to_dict(objective)}


def _class_name(objective: Any) -> str:
    return f"{type(objective).__module__}:{type(objective).__qualname__}"
