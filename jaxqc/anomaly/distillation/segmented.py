"""DeSTSeg in use: a student that takes defects away, and a head that finds where it did so."""

from dataclasses import replace
from typing import Any, NamedTuple, cast

import flax.linen as nn
from jaxtyping import Array, Float

from jaxqc.anomaly.detectors.base import Image, Layers, OnBackbone, Scored
from jaxqc.anomaly.detectors.distill_config import DistillConfig
from jaxqc.anomaly.distillation.segmenting import Segmenting, unit_products
from jaxqc.anomaly.distillation.students import outputs
from jaxqc.anomaly.features import Backbone, by_halves
from jaxqc.anomaly.learned.fuse import fuse
from jaxqc.anomaly.ops.maps import smooth, top_score
from jaxqc.data.resizing import Size, sides
from jaxqc.errors import UserError
from jaxqc.models.denoising import Denoising, Segmentation
from jaxqc.models.resnet import BACKBONES
from jaxqc.nn.conv import Norm
from jaxqc.nn.fold import fold_batch_norm
from jaxqc.types import Variables


class Segmenter(NamedTuple):
    """The trained networks: student and head, batch norm folded."""

    student: Any
    segmentation: Any


class Segmented(OnBackbone[DistillConfig]):
    """Features without defects, imitated from an image with some, and a head (arXiv 2211.11317)."""

    states = (Segmenter,)

    def student(self, folded: bool = False, axis_name: str | None = None) -> Denoising:
        """The student: the teacher's own architecture with a decoder."""
        layers = tuple(sorted(set(self.backbone.layers)))
        return Denoising(replace(BACKBONES[self.backbone.name], cbam=False), layers, Norm(folded, axis_name))

    def head(self, folded: bool = False, axis_name: str | None = None) -> Segmentation:
        """The head; 256 channels beside a published ResNet."""
        return Segmentation(4 * BACKBONES[self.backbone.name].base, Norm(folded, axis_name))

    def method(self, backbone: Backbone, size: int) -> Segmenting:
        """The training of both. Raises UserError where it does not go with the backbone."""
        if self.backbone.name not in BACKBONES or not set(self.backbone.layers) <= {1, 2, 3}:
            raise UserError(
                f"backbone.name={self.backbone.name}, layers={self.backbone.layers}: this student rebuilds layers 1 to"
                " 3 of a ResNet; take --backbone.name resnet18 --backbone.layers 1,2,3"
            )
        return Segmenting(self, backbone, size)

    def trained(self, variables: Variables) -> Segmenter:
        """Both networks with their batch norm folded."""
        params = fold_batch_norm(variables)["params"]
        return Segmenter(params["student"], params["head"])

    def embed(self, layers: Layers, image: Image) -> tuple[Layers, Image]:
        """The teacher's features and the image."""
        return layers, image

    def score(self, state: Segmenter, embedded: tuple[Layers, Image], size: Size) -> Scored:
        """The head's probability that a cell is defective."""
        student, head = self.student(folded=True), self.head(folded=True)

        def found(state: Variables, pair: tuple[Layers, Any]) -> Float[Array, "b h w"]:
            layers, image = pair
            seen = outputs(student, {"params": state["student"]}, image)
            logits = cast(Array, head.apply({"params": state["segmentation"]}, unit_products(layers, seen)))
            return nn.sigmoid(logits)

        grid = by_halves(found)(state._asdict(), embedded)
        maps = smooth(fuse((grid,), "mean", *sides(size), self.config.aligned), self.config.sigma)
        return maps, top_score(maps, self.config.top)
