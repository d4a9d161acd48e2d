"""Every frozen feature network by name, whatever its family: building it, reading its weights, writing them again."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np

from jaxqc.errors import UserError, suggest
from jaxqc.models import densenet, efficientnet, efficientnet_names, hrnet, mit, mit_names, pdn, resnet, vgg
from jaxqc.models.conversion import Names, convert_named, export_named
from jaxqc.models.pretrained import LoadReport, convert_state, export_state
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import EPSILON
from jaxqc.types import Variables


@dataclass(frozen=True)
class Family:
    """Networks of one kind: a normalised image [n h w 3] → `{"layer1": [n h/4 w/4 c1], ...}` of layers 1..4.

    build: name, layers, `Norm` → the network. convert: a file's arrays, name, layers, head, seed, prefix → its
    variables and a report. export: variables and name → arrays of a file. epsilon: of its batch norms.
    """

    names: Collection[str]
    build: Callable[[str, Sequence[int], Norm], nn.Module]
    convert: Callable[..., tuple[dict[str, Any], LoadReport]]
    export: Callable[[Variables, str], dict[str, np.ndarray]]
    epsilon: float = EPSILON


def _resnet(name: str, layers: Sequence[int], norm: Norm) -> nn.Module:
    return resnet.ResNet(resnet.backbone_spec(name), resnet.checked_layers(layers), norm=norm)


def _mit(name: str, layers: Sequence[int], norm: Norm) -> nn.Module:
    return mit.Mit(mit.MITS[name], resnet.checked_layers(layers), norm)


def _pdn(spec: pdn.PdnSpec, layers: Sequence[int], norm: Norm) -> nn.Module:
    return pdn.Pdn(spec, norm.dtype)


def _named(
    network: Callable[..., nn.Module],
    specs: Mapping[str, Any],
    styles: Callable[[str], Sequence[Names]],
    epsilon: float = EPSILON,
    has: tuple[int, ...] = resnet.LAYERS,
) -> Family:
    """A family of one class of network, whose arrays have a name each.

    network: spec, layers, norm → the network. styles: a model's ways to call its arrays. has: the layers it has.
    """

    def make(name: str, layers: Sequence[int], norm: Norm) -> nn.Module:
        return network(specs[name], resnet.checked_layers(layers, has=has), norm)

    convert = partial(convert_named, build=partial(make, norm=Norm(epsilon=epsilon)), styles=styles, has=has)
    return Family(specs, make, convert, partial(export_named, styles=styles), epsilon)


def _efficientnets(epsilon: float) -> Family:
    """Those whose batch norms have this epsilon."""
    specs = {name: sizes for name, sizes in efficientnet.EFFICIENTNETS.items() if sizes.epsilon == epsilon}
    return _named(efficientnet.EfficientNet, specs, efficientnet_names.styles, epsilon)


FAMILIES: tuple[Family, ...] = (
    Family(resnet.BACKBONES, _resnet, convert_state, lambda variables, name: export_state(variables)),
    _named(_pdn, pdn.PDNS, lambda model: (pdn.anomalib_name,), has=(1,)),
    _efficientnets(1e-3),
    _efficientnets(EPSILON),
    _named(vgg.PlainNetwork, vgg.PLAINS, lambda model: (vgg.torchvision_name,)),
    _named(densenet.DenseNet, densenet.DENSENETS, lambda model: densenet.STYLES),
    _named(hrnet.HRNet, hrnet.HRNETS, lambda model: (hrnet.timm_name,)),
    Family(mit.MITS, _mit, mit_names.convert_mit, mit_names.export_mit),
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
      UserError: unknown name or dtype, layers that are none or not among the network's.

    Examples:
      >>> build("efficientnet_lite0", (1,)).__class__.__name__
      'EfficientNet'
    """
    one = family(name)
    norm = Norm(folded, axis_name, jnp.dtype(resnet.checked_dtype(dtype)), epsilon=one.epsilon)
    return one.build(name, layers, norm)
