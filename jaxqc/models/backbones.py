"""Every frozen feature network by name, whatever its family: building it, reading its weights, writing them again."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import numpy as np

from jaxqc.errors import UserError, suggest
from jaxqc.models import densenet, efficientnet, efficientnet_names, hrnet, resnet, vgg
from jaxqc.models.conversion import Names, convert_named, export_named
from jaxqc.models.pretrained import LoadReport, convert_state, export_state
from jaxqc.nn.fold import EPSILON
from jaxqc.types import Variables


@dataclass(frozen=True)
class Family:
    """Networks of one kind: a normalised image [n h w 3] → `{"layer1": [n h/4 w/4 c1], ...}` of layers 1..4.

    build: name, layers, dtype, folded, axis_name → the network. convert: a file's arrays, name, layers, head, seed,
    prefix → its variables and a report. export: variables and name → arrays of a file. epsilon: of its batch norms.
    """

    names: Collection[str]
    build: Callable[..., nn.Module]
    convert: Callable[..., tuple[dict[str, Any], LoadReport]]
    export: Callable[[Variables, str], dict[str, np.ndarray]]
    epsilon: float = EPSILON


def _named(
    names: Collection[str],
    build: Callable[..., nn.Module],
    styles: Callable[[str], Sequence[Names]],
    epsilon: float = EPSILON,
) -> Family:
    """A family whose arrays have a name each. styles: a model's ways to call them."""
    convert = partial(convert_named, build=build, styles=styles)
    return Family(names, build, convert, partial(export_named, styles=styles), epsilon)


def _efficientnets(epsilon: float) -> Family:
    """Those whose batch norms have this epsilon."""
    names = [name for name, sizes in efficientnet.EFFICIENTNETS.items() if sizes.epsilon == epsilon]
    return _named(names, efficientnet.build_efficientnet, efficientnet_names.styles, epsilon)


FAMILIES: tuple[Family, ...] = (
    Family(resnet.BACKBONES, resnet.build_backbone, convert_state, lambda variables, name: export_state(variables)),
    _efficientnets(1e-3),
    _efficientnets(EPSILON),
    _named(vgg.PLAINS, vgg.build_plain, lambda model: (vgg.torchvision_name,)),
    _named(
        densenet.DENSENETS,
        densenet.build_densenet,
        lambda model: (densenet.torchvision_name, partial(densenet.torchvision_name, old=True)),
    ),
    _named(hrnet.HRNETS, hrnet.build_hrnet, lambda model: (hrnet.timm_name,)),
)


def family(name: str) -> Family:
    """The family of a backbone. Raises `UserError` with the closest name where there is none.

    Examples:
      >>> family("efficientnet_lite0").epsilon
      0.001
    """
    for one in FAMILIES:
        if name in one.names:
            return one
    raise UserError(f"backbone: {name!r} is not one{suggest(name, backbone_names())}")


def backbone_names() -> tuple[str, ...]:
    """The names of all of them."""
    return tuple(name for one in FAMILIES for name in one.names)


def build(
    name: str,
    layers: Sequence[int] = (1, 2, 3),
    dtype: str = "float32",
    folded: bool = False,
    axis_name: str | None = None,
) -> nn.Module:
    """A backbone by name.

    Args:
      layers: which of 1..4 come out. dtype: compute dtype; parameters stay float32.
      folded: build for `jaxqc.nn.fold.fold_batch_norm` variables, of its family's `epsilon` (inference only).
      axis_name: mapped axis for synchronised batch norm.

    Raises:
      UserError: unknown name or dtype, layers that are none or not in 1..4.

    Examples:
      >>> build("efficientnet_lite0", (1,)).__class__.__name__
      'EfficientNet'
    """
    return family(name).build(name, layers, dtype=dtype, folded=folded, axis_name=axis_name)
