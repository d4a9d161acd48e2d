"""A flow of frozen features as the teacher, and a residual network that imitates what it makes of them."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from jaxqc.anomaly.detectors.asymmetric import Ast
from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored, Shapes, shapes_of
from jaxqc.anomaly.detectors.flow import FlowConfig
from jaxqc.anomaly.detectors.image_loss import HeldOutLoss
from jaxqc.anomaly.detectors.stage import Known, Stage
from jaxqc.anomaly.distillation.objective import imitation_loss, statistics_of
from jaxqc.anomaly.distillation.students import outputs
from jaxqc.anomaly.flow.detector import FlowDetector
from jaxqc.anomaly.flow.network import Flow, conditions, entering, flow_of
from jaxqc.anomaly.learned.cache import at_hand
from jaxqc.anomaly.learned.discrepancy import discrepancy
from jaxqc.anomaly.learned.fuse import fuse
from jaxqc.anomaly.ops.maps import smooth, top_score
from jaxqc.data.resizing import Size, sides
from jaxqc.models.residual import Residual
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.training.method import Logs
from jaxqc.types import AXIS, ArrayLike, Batch, Variables

if TYPE_CHECKING:
    import jaxqc.anomaly.features


class FlowAndStudent(NamedTuple):
    """The trained networks: the student with batch norm folded, and the flow."""

    student: Any
    flow: Any


def placed(config: FlowConfig, layers: Layers) -> tuple[Float[Array, "b _ _ _"], ...]:
    """A flow's layers, each with the positions of its cells as further channels.

    Examples:
      >>> from jaxqc.anomaly.detectors.asymmetric import AST_FLOW
      >>> placed(AST_FLOW, (jnp.zeros((2, 4, 8, 16)),))[0].shape
      (2, 4, 8, 48)
    """
    beside = [
        [jnp.broadcast_to(part, (*x.shape[:3], part.shape[-1])) for part in parts]
        for x, parts in zip(layers, conditions(config, layers), strict=True)
    ]
    return tuple(jnp.concatenate([x, *parts], -1) for x, parts in zip(layers, beside, strict=True))


class AsymmetricPair(OnBackbone[Ast]):
    """A flow over one backbone, and its student."""

    states = (FlowAndStudent,)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The flow, which is trained first."""
        flow: FlowDetector = self.config.flow.on(self.backbone)
        return (Stage("teacher", flow.training, flow.method),)

    def network(self, shapes: Shapes, folded: bool = False, axis_name: str | None = None) -> Residual:
        """The student of a flow over layers of these shapes."""
        return Residual(tuple(c for _, _, c in shapes), self.config.width, self.config.blocks, Norm(folded, axis_name))

    def method(self, backbone: "jaxqc.anomaly.features.Backbone", size: int) -> "AsymmetricImitation":
        """The student's training beside `backbone`. Raises UserError where the flow does not go with its layers."""
        flow_of(self.config.flow, backbone.shapes(size))
        return AsymmetricImitation(self, backbone, size)

    def trained(self, variables: Variables) -> FlowAndStudent:
        """Both, the student with its batch norm folded."""
        return FlowAndStudent(fold_batch_norm(variables)["params"], variables["flow"])

    def embed(self, layers: Layers, image: Image) -> Layers:
        """The layers as the flow takes them."""
        return entering(self.config.flow, layers)

    def said(self, flow: Any, layers: Layers) -> Layers:
        """The flow's output for them."""
        config = self.config.flow
        network: Any = Flow(config, tuple(x.shape[-1] for x in layers))
        return network.apply({"params": flow}, layers, conditions(config, layers))[0]

    def score(self, state: FlowAndStudent, embedded: Layers, size: Size) -> Scored:
        """Map of where flow and student differ."""
        from jaxqc.anomaly.features import by_halves

        config = self.config

        def both(variables: Variables, layers: Layers) -> tuple[Layers, Layers]:
            network, shown = self.network(shapes_of(layers), folded=True), placed(config.flow, layers)
            return self.said(variables["flow"], layers), outputs(network, {"params": variables["student"]}, shown)

        pairs = zip(*by_halves(both)(state._asdict(), embedded), strict=True)
        grids = tuple(discrepancy("mse", t, s) for t, s in pairs)
        maps = smooth(fuse(grids, "mean", *sides(size), config.aligned), config.sigma)
        return maps, top_score(maps, config.top)


@dataclass(frozen=True, eq=False)
class AsymmetricImitation(HeldOutLoss):
    """The student's training: the mean squared error of what the flow makes of the features.

    backbone: frozen, with its variables on the host. size: side of the images. flow: the teacher's parameters; none
    before `after`.
    """

    pair: AsymmetricPair
    backbone: "jaxqc.anomaly.features.Backbone"
    size: int
    flow: Any = None

    @cached_property
    def shapes(self) -> Shapes:
        """Shapes of the layers as the flow takes them."""
        layers = tuple(jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in self.backbone.shapes(self.size))
        return shapes_of(jax.eval_shape(lambda x: entering(self.pair.config.flow, x), layers))

    def after(self, known: Known) -> "AsymmetricImitation":
        """The same beside a trained flow."""
        return replace(self, flow=known["teacher"]["params"])

    def init(self, key: jax.Array) -> Variables:
        """A student drawn at random."""
        layers = tuple(jnp.zeros((1, *shape)) for shape in self.shapes)
        return dict(self.pair.network(self.shapes).init(key, placed(self.pair.config.flow, layers)))

    def frozen(self) -> dict[str, Any]:
        """Backbone and flow."""
        return {"backbone": dict(self.backbone.variables), "flow": self.flow}

    def features(self, frozen: Any, images: UInt8[ArrayLike, "b s s c"]) -> dict[str, Array]:
        """The layers as the flow takes them, and what it makes of them: no student changes either."""
        layers = entering(self.pair.config.flow, self.backbone.apply(frozen["backbone"], images))
        targets = self.pair.said(frozen["flow"], layers)
        return {f"{kind}{i}": jnp.asarray(x) for kind, xs in (("x", layers), ("z", targets)) for i, x in enumerate(xs)}

    def loss(
        self, params: Any, model_state: Any, batch: Batch, key: jax.Array, extra: None = None
    ) -> tuple[jax.Array, tuple[Any, Logs]]:
        """The mean over images, with the batch's own statistics."""
        layers, targets = self._known(model_state, batch)
        variables = {"params": params, **statistics_of(model_state)}
        network, shown = self.pair.network(self.shapes, axis_name=AXIS), placed(self.pair.config.flow, layers)
        student, changed = outputs(network, variables, shown, train=True, mutable=["batch_stats"])
        return imitation_loss("mse", targets, student).mean(), (dict(changed), {})

    def losses(self, variables: Variables, batch: Batch) -> Float[Array, " b"]:
        """The same of each image."""
        layers, targets = self._known(variables, batch)
        own = {"params": variables["params"], **statistics_of(variables)}
        student = outputs(self.pair.network(self.shapes), own, placed(self.pair.config.flow, layers))
        return imitation_loss("mse", targets, student)

    def _known(self, frozen: Any, batch: Batch) -> tuple[Layers, Layers]:
        found, count = at_hand(batch, self.features, frozen), range(len(self.shapes))
        return tuple(found[f"x{i}"] for i in count), tuple(found[f"z{i}"] for i in count)
