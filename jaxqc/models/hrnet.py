"""HRNet-W32 as a feature extractor (arXiv 1908.07919): branches of four strides side by side, which exchange features.

Sizes and names are timm's `hrnet_w32` and the authors' classification code: coarse features are repeated, not
interpolated, to reach a finer branch.
"""

from dataclasses import dataclass

import flax.linen as nn
import jax
from jaxtyping import Array, Float

from jaxqc.models.arrays import FIELDS, Path
from jaxqc.models.pretrained import torch_name
from jaxqc.models.resnet import Block
from jaxqc.nn.conv import ConvBN, Norm, PointwiseBN
from jaxqc.types import ArrayLike


@dataclass(frozen=True)
class Resolutions:
    """The differences between HRNets. width: channels of the finest branch, doubled with each coarser one.

    modules: of the second to the fourth stage, which have two to four branches.
    """

    width: int
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    stem: int = 64

    def channels(self, layer: int) -> int:
        """Channels of a branch (1..4), at stride 2^(layer + 1)."""
        return self.width * 2 ** (layer - 1)


HRNETS: dict[str, Resolutions] = {"hrnet_w32": Resolutions(32)}
"""Every one by name."""


class HRNet(nn.Module):
    """Normalised image [n h w 3] → `{"layer1": [n h/4 w/4 c1], ...}`: the branches after the last stage.

    layers: any of 1..4. Every branch takes part up to the last exchange. There those coarser than the deepest layer
    asked for are given up, and have no parameters.

    Examples:
      >>> from jaxqc.models.arrays import layer_shapes
      >>> layer_shapes(HRNet(HRNETS["hrnet_w32"], (1, 3)), 64, 64)
      {'layer1': (1, 16, 16, 32), 'layer3': (1, 4, 4, 128)}
    """

    spec: Resolutions
    layers: tuple[int, ...] = (1, 2, 3)
    norm: Norm = Norm()

    @nn.compact
    def __call__(self, image: Float[ArrayLike, "n h w 3"], train: bool = False) -> dict[str, Array]:
        spec, norm = self.spec, self.norm
        x = ConvBN(spec.stem, 2, norm, name="conv1")(image, train)
        x = ConvBN(spec.stem, 2, norm, name="conv2")(x, train)
        for i in range(spec.blocks):
            x = Block(4 * spec.stem, spec.stem, norm=norm, name=f"layer1_{i}")(x, train)
        branches = [x]
        for stage, modules in enumerate(spec.modules, 2):
            branches = self._transition(branches, stage - 1, train)
            for module in range(modules):
                last = stage == 4 and module == modules - 1
                wanted = max(self.layers) if last else stage
                branches = self._exchange(branches, wanted, f"stage{stage}_{module}", train)
        return {f"layer{layer}": branches[layer - 1] for layer in self.layers}

    def _transition(self, branches: list[jax.Array], number: int, train: bool) -> list[jax.Array]:
        """Branches brought to their widths, and one more of twice the coarsest's stride."""
        out = []
        for i in range(number + 1):
            features = self.spec.channels(i + 1)
            if i < len(branches):
                x = branches[i]
                if x.shape[-1] != features:
                    x = ConvBN(features, 1, self.norm, name=f"transition{number}_{i}")(x, train)
            else:
                x = ConvBN(features, 2, self.norm, name=f"transition{number}_{i}_0")(branches[-1], train)
            out.append(x)
        return out

    def _exchange(self, branches: list[jax.Array], wanted: int, name: str, train: bool) -> list[jax.Array]:
        """A module: blocks of each branch, then for each of the first `wanted` ones the sum of what all give it."""
        deep = []
        for j, x in enumerate(branches):
            for i in range(self.spec.blocks):
                x = Block(self.spec.channels(j + 1), norm=self.norm, name=f"{name}_branches_{j}_{i}")(x, train)
            deep.append(x)
        out = []
        for i in range(wanted):
            parts = [self._brought(x, j, i, deep[i].shape, f"{name}_fuse_{i}_{j}", train) for j, x in enumerate(deep)]
            out.append(nn.relu(sum(parts[1:], parts[0])))
        return out

    def _brought(self, x: jax.Array, given: int, to: int, shape: tuple[int, ...], name: str, train: bool) -> jax.Array:
        """Features of branch `given` in the shape of branch `to`."""
        if given > to:
            y = PointwiseBN(shape[-1], self.norm, None, name=name)(x, train)
            y = y.repeat(2 ** (given - to), 1).repeat(2 ** (given - to), 2)
            return y[:, : shape[1], : shape[2]]
        for step in range(to - given):
            last = step == to - given - 1
            features, act = (shape[-1], None) if last else (x.shape[-1], nn.relu)
            x = ConvBN(features, 2, self.norm, act=act, name=f"{name}_{step}")(x, train)
        return x


def timm_name(path: Path) -> str:
    """The array of a variable in a file of timm's or of the authors'.

    Examples:
      >>> timm_name(("params", "stage3_0_fuse_2_0_1", "bn", "mean"))
      'stage3.0.fuse_layers.2.0.1.1.running_mean'
      >>> timm_name(("params", "stage3_0_branches_2_1", "conv2", "kernel"))
      'stage3.0.branches.2.1.conv2.weight'
    """
    if not ("_fuse_" in path[1] or path[1].startswith("transition")):
        return torch_name(path)
    unit = path[1].replace("_", ".").replace("fuse", "fuse_layers")
    return f"{unit}.{int('bn' in path)}.{FIELDS[path[-1]]}"
