"""Several detectors as one: maps in units of their own, and of them the smallest, middle, mean or largest values.

What only one member finds odd is often the grain or light that it sees badly; a defect is odd to all of them. Where
the backbone is several (`filters+efficientnet_lite0`), members may look at layers of their own. Members that say
whether and not where have no part in the map, but in the image's score (`jaxqc.anomaly.detectors.votes`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxqc.anomaly.detectors.base import BackboneConfig, Image, Layers, Scored, Shapes, is_trained, localises
from jaxqc.anomaly.detectors.discriminator import MEMBERS as DISCRIMINATORS
from jaxqc.anomaly.detectors.distillation import MEMBERS as DISTILLATIONS
from jaxqc.anomaly.detectors.flow import MEMBERS as FLOWS
from jaxqc.anomaly.detectors.gaussian import Gaussian
from jaxqc.anomaly.detectors.learner import MEASURED, Given, Learner
from jaxqc.anomaly.detectors.patchcore import PatchCore
from jaxqc.anomaly.detectors.retrieval import MEMBERS as RETRIEVALS
from jaxqc.anomaly.detectors.spade import Spade
from jaxqc.anomaly.detectors.statistical import Density, NearestWords, OneClassSvm
from jaxqc.anomaly.detectors.votes import Votes, joint_score, log_votes, votes_of
from jaxqc.anomaly.ops.maps import cell_means, image_score, smooth, window_score
from jaxqc.anomaly.ops.rows import Rows, keep, store
from jaxqc.anomaly.ops.stitched import map_score
from jaxqc.data.resizing import Size
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, chosen
from jaxqc.types import ArrayLike

FITTED: dict[str, type] = {
    "gaussian": Gaussian,
    "patchcore": PatchCore,
    "spade": Spade,
    "density": Density,
    "ocsvm": OneClassSvm,
    "dictionary": NearestWords,
}
MEMBERS: dict[str, type] = {**FITTED, **DISTILLATIONS, **FLOWS, **DISCRIMINATORS, **RETRIEVALS}
"""The detectors that may be members, by name; those that packages register may be, too."""
HOW = {"min": jnp.min, "median": jnp.median, "mean": jnp.mean, "max": jnp.max}


class Collection(NamedTuple):
    """Collections of the members, and their embeddings of the first `MEASURED` images."""

    members: tuple[Any, ...]
    first: Rows


class Ensemble(NamedTuple):
    """The members' states, each as its fields by the state's name, and the units of their maps."""

    members: tuple[dict[str, dict[str, Any]], ...]
    units: Float[Array, " m"]


class Jury(NamedTuple):
    """An `Ensemble` some members of which have no map, and the units of the votes for an image's score."""

    members: tuple[dict[str, dict[str, Any]], ...]
    units: Float[Array, " m"]
    middle: Float[ArrayLike, " v"]
    spread: Float[ArrayLike, " v"]


@dataclass(frozen=True)
class Member:
    """A detector, and the layers that it sees."""

    detector: Any = field(default_factory=Gaussian, metadata=chosen("detectors", MEMBERS, flag="member"))
    """One value of a class of `MEMBERS`, or any other; one that is trained is so on its own, before the others' fit."""
    layers: tuple[int, ...] = ()
    """Places, from 0, of its layers among those of the backbone; () = all."""
    weight: float = 1.0
    """Its share in the mean of the maps, beside those of the others; of one without a map its share in the image's
    score, where the map has 1."""

    def own(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Those of its layers."""
        return tuple(values[i] for i in self.layers) if self.layers else values

    def ready(self, backbone: BackboneConfig) -> Any:
        """The detector for this backbone; one that is trained is for its own layers of it."""
        if not hasattr(self.detector, "on"):
            return self.detector
        ready = self.detector.on(backbone)
        return self.detector.on(backbone.at(self.layers)) if is_trained(ready) else ready


@dataclass(frozen=True)
class Combined:
    """Several detectors whose maps become one: an ensemble."""

    members: tuple[Member, ...] = (Member(Gaussian()), Member(PatchCore()))
    """The detectors, two or more, one at least with a map. Of those with a map the image scores are not used."""
    how: Literal["min", "median", "mean", "max"] = "mean"
    """The value of a pixel: the smallest, middle, mean or largest one of the members' maps in their units."""
    sigma: float = 0.0
    """Standard deviation of the common map's smoothing, in pixels."""
    top: int = 1
    """As of `Gaussian`: pixels of the common map, or with a `window` cells of 4 x 4 pixels."""
    window: int = 0
    """As of `Gaussian`, in cells of 4 x 4 pixels; 0 = the highest of the whole map."""

    states = (Ensemble, Jury)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        check_positive({"top": self.top}, where)
        if len(self.members) < 2:
            raise UserError(f"{where}.members: {len(self.members)} of them; give two or more, or the one itself")
        for i, member in enumerate(self.members):
            check_positive({f"members.{i}.weight": member.weight}, where)
            if member.weight != 1 and self.how != "mean" and localises(member.detector):
                raise UserError(f"{where}.members.{i}.weight={member.weight!r} needs how=mean; or set it to 1")
            if getattr(member.detector, "turns", 1) > 1:
                raise UserError(f"{where}.members.{i}.detector.turns: a member fits images as they are; set it to 1")
            if getattr(member.detector, "at_places", False):
                raise UserError(f"{where}.members.{i}.detector.aligned: a member has one state for all tiles; drop it")
            getattr(member.detector, "check", lambda where: None)(f"{where}.members.{i}.detector")
        if self.window and self.top > self.window**2:
            most = f"the {self.window**2} cells of a window"
            raise UserError(f"{where}.top={self.top!r} is more than {most}: lower it, or set window to 0")

    @property
    def advice(self) -> str:
        """The way out where distances are not finite."""
        return "; ".join(dict.fromkeys(m.detector.advice for m in self.members if hasattr(m.detector, "advice")))

    def on(self, backbone: BackboneConfig) -> "Combined":
        """With members for this backbone. Raises UserError where it has fewer layers than a member names."""
        count = backbone.count
        for i, member in enumerate(self.members):
            if max(member.layers, default=0) >= count:
                places = f"{backbone.name} has {count} layers, at places from 0"
                raise UserError(f"detector.members.{i}.layers={member.layers!r}: {places}")
        ready = tuple(replace(m, detector=m.ready(backbone)) for m in self.members)
        for i, member in enumerate(ready):
            kind = type(self.members[i].detector).__name__
            if getattr(member.detector, "views", None):
                raise UserError(f"detector.members.{i}: {kind} is shown other views of an image; fit it alone")
        if not any(localises(member.detector) for member in ready):
            raise UserError("detector.members: all have one score for an image; take one at least with a map")
        return replace(self, members=ready)

    @property
    def voters(self) -> tuple[Member, ...]:
        """The members without a map."""
        return tuple(member for member in self.members if not localises(member.detector))

    @property
    def heard(self) -> Any:
        """(state, votes of held-out images [n v]) → the state with their units; None where all members have a map."""
        return (lambda state, votes: Jury(state.members, state.units, *votes_of(votes))) if self.voters else None

    def votes(self, state: Any, embedded: tuple[Any, ...], size: Size) -> Float[Array, "b v"]:
        """Images' votes: of the common map, and of each member without one."""
        (_, own), voted = self._answers(state, embedded, size)
        return log_votes(own, *voted)

    @property
    def labelled(self) -> bool:
        """True where a member learns from defective images, too."""
        return any(getattr(m.detector, "labelled", False) for m in self.members)

    def learners(self, backbone: BackboneConfig) -> tuple[Learner, ...]:
        """The members that are trained."""
        return tuple(
            Learner(f"member_{i}", member.detector, backbone.at(member.layers))
            for i, member in enumerate(self.members)
            if is_trained(member.ready(backbone))
        )

    def given(self, trained: Mapping[str, Given]) -> "Combined":
        """The same with the trained members known, by their names among `learners`: it fits the others."""
        known = lambda i, member: replace(member, detector=trained.get(f"member_{i}", member.detector))
        return replace(self, members=tuple(known(i, member) for i, member in enumerate(self.members)))

    def embed(self, layers: Layers, image: Image) -> tuple[Any, ...]:
        """Each member's embedding."""
        return tuple(m.detector.embed(m.own(layers), image) for m in self.members)

    def begin(self, shapes: Shapes, samples: int) -> Collection:
        layers = tuple(jax.ShapeDtypeStruct((min(samples, MEASURED), *shape), jnp.float32) for shape in shapes)
        first = jax.eval_shape(lambda x: self.embed(x, None), layers)
        members = tuple(m.detector.begin(m.own(shapes), samples) for m in self.members)
        return Collection(members, Rows(jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)))

    def collect(self, collected: Collection, embedded: tuple[Any, ...], number: Int[ArrayLike, " b"]) -> Collection:
        pairs = zip(self.members, collected.members, embedded, strict=True)
        members = tuple(m.detector.collect(own, x, number) for m, own, x in pairs)
        return Collection(members, store(collected.first, embedded, number))

    def drop(self, collected: Collection, used: Int[ArrayLike, " n"]) -> Collection:
        pairs = zip(self.members, collected.members, strict=True)
        members = tuple(m.detector.drop(own, used) for m, own in pairs)
        if not (rows := jax.tree.leaves(collected.first)):  # all members are known
            return Collection(members, collected.first)
        count = rows[0].shape[0]
        if not (first := used[used < count]).size:
            raise UserError(f"the first {count} images set the members' units, and none can be used; remove them")
        return Collection(members, keep(collected.first, first))

    def finish(self, collected: Collection, shapes: Shapes) -> Ensemble:
        states, units = [], []
        for member, own, first in zip(self.members, collected.members, collected.first.features, strict=True):
            state = member.detector.finish(own, member.own(shapes))
            states.append({type(state).__name__: state._asdict()})
            if isinstance(member.detector, Given):
                units.append(jnp.float32(member.detector.unit))
            else:
                maps, _ = member.detector.score(state, first, member.own(shapes)[0][:2])
                units.append(jnp.maximum(maps.mean(), 1e-6))  # a mean: smoothing leaves it as it is
        return Ensemble(tuple(states), jnp.stack(units))

    def score(self, state: Any, embedded: tuple[Any, ...], size: Size) -> Scored:
        (common, own), voted = self._answers(state, embedded, size)
        if not voted:
            return common, own
        weights = (1.0, *(member.weight for member in self.voters))
        return common, joint_score(Votes(state.middle, state.spread), log_votes(own, *voted), weights)

    def score_of(self, values: Float[np.ndarray, "h w"]) -> float:
        """As of `Gaussian`."""
        return map_score(values, self.top, self.window)

    def _answers(self, state: Any, embedded: tuple[Any, ...], size: Size) -> tuple[Scored, list[Float[Array, " b"]]]:
        """The common map and its score, and the scores of members without a map."""
        maps, units, voted = [], [], []
        for member, own, x, unit in zip(self.members, state.members, embedded, jnp.asarray(state.units), strict=True):
            found, score = member.detector.score(_named(member.detector, own), x, size)
            if localises(member.detector):
                maps.append(found)
                units.append(unit)
            else:
                voted.append(score)
        values = self.one(jnp.stack(maps) / jnp.stack(units)[:, None, None, None])
        common = smooth(values, self.sigma)
        if self.window:
            return (common, window_score(cell_means(values), self.window, self.top)), voted
        return (common, image_score(common, self.top)), voted

    def one(self, maps: Float[ArrayLike, "m b h w"]) -> Float[Array, "b h w"]:
        """The common map of those that the members have, in their units.

        Examples:
          >>> halves = Combined((Member(weight=1.0), Member(weight=0.5)))
          >>> float(halves.one(jnp.array([3.0, 6.0]).reshape(2, 1, 1, 1))[0, 0, 0])
          4.0
        """
        weights = [member.weight for member in self.members if localises(member.detector)]
        if len(set(weights)) == 1:
            return HOW[self.how](jnp.asarray(maps), 0)
        return jnp.average(jnp.asarray(maps), 0, weights=jnp.asarray(weights))


def _named(detector: Any, fields: dict[str, dict[str, Any]]) -> Any:
    """The member's state as the named tuple that it was."""
    (name, values), *_ = fields.items()
    return next(kind for kind in detector.states if kind.__name__ == name)(**values)
