"""Every frozen feature network by name, whatever its family: building it, reading its weights, writing them again."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import flax.linen as nn
import numpy as np

from jaxqc.errors import UserError, suggest
from jaxqc.models import efficientnet, pdn, resnet
from jaxqc.models.pretrained import LoadReport, convert_state, export_state
from jaxqc.models.pretrained_efficientnet import convert_lite, export_lite
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


FAMILIES: tuple[Family, ...] = (
    Family(resnet.BACKBONES, resnet.build_backbone, convert_state, lambda variables, name: export_state(variables)),
    Family(pdn.PDNS, pdn.build_pdn, pdn.convert_pdn, pdn.export_pdn),
    Family(efficientnet.LITES, efficientnet.build_lite, convert_lite, export_lite, efficientnet.EPSILON),
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
      'EfficientNetLite'
    """
    return family(name).build(name, layers, dtype=dtype, folded=folded, axis_name=axis_name)
