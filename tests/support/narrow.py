"""The narrowest ResNet, one block a layer: its graphs compile in less than half of ResNet-18's time."""

from jaxqc.models.resnet import Spec

NAME = "resnet_narrow"
"""Its name in `BACKBONES`, while a test has it there."""
SPEC = Spec((1, 1, 1, 1), False, base=16)
