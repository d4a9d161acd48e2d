"""A student of another kind than its teacher, which is a flow that is trained first: the settings."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from jaxqc.anomaly.detectors.base import ASTRAY, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.detectors.flow import ADAM, FlowConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.distillation.asymmetric import AsymmetricPair

AST_TRAINING = TrainingConfig(72.0, 8, replace(ADAM, lr=2e-4))
"""The authors' training, of teacher and student alike."""
AST_FLOW = FlowConfig(
    coupling="two_sided",
    blocks=(4,),
    subnet="conv_edge",
    kernels=(3, 3, 3, 5),
    width=64,
    clamp=1.9,
    condition=32,
    loss="nll_dim",
    combine="square",
    training=AST_TRAINING,
)
"""The authors' teacher; its loss is theirs over the number of channels."""


@dataclass(frozen=True)
class Ast:
    """A residual network that imitates a flow of normal features; it cannot do so for others (arXiv 2210.07829).

    A flow is one-to-one and the student is not, so that they part where neither was trained. Made for the last layer
    of EfficientNet-B5 at 768 pixels: `--backbone.name efficientnet_b5 --backbone.layers 4 --data.size 768`. The flow is
    trained first, in `training_teacher` beside `training`. Maps are enlarged bilinearly, so that none is below 0.
    """

    flow: FlowConfig = AST_FLOW
    """The teacher and its training."""
    width: int = 1024
    """Channels of the student's hidden layers."""
    blocks: int = 4
    """Residual blocks of the student."""
    aligned: bool = False
    """Enlarge maps with their corner pixels aligned."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    top: float = 1.0
    """Highest pixels whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = AST_TRAINING

    advice = ASTRAY

    @property
    def states(self) -> tuple[type, ...]:
        """The named tuples that a training may give."""
        return self.on(BackboneConfig()).states

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        self.flow.check(f"{where}.flow")
        check_positive({"width": self.width, "blocks": self.blocks}, where)
        check_top(self.top, where)
        if self.flow.whiten:
            raise UserError(f"{where}: flow.whiten: the student sees features as they are; set it to false")
        if self.flow.pool == "mean" or self.flow.scales != (1,):
            raise UserError(f"{where}.flow: pool={self.flow.pool}, scales={self.flow.scales!r}: a student needs the"
                            " image's grid; set pool=none and scales=1")  # fmt: skip

    def on(self, backbone: BackboneConfig) -> "AsymmetricPair":
        """This detector for a backbone."""
        from jaxqc.anomaly.distillation.asymmetric import AsymmetricPair

        return AsymmetricPair(self, backbone)
