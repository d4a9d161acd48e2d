"""The door of the networks: an objective's weights in the recipe, networks of a recipe's own, pretrained starts."""

import dataclasses
import sys
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxqc.config import ModelConfig, TrainConfig, load_config
from jaxqc.errors import UserError
from jaxqc.fields import as_now, from_dict, leaves, to_dict, validate
from jaxqc.overrides import override
from jaxqc.saliency import networks
from jaxqc.saliency.method import make_method
from jaxqc.saliency.networks import NETWORKS, Network
from jaxqc.saliency.objectives.minet import MINetObjective
from jaxqc.saliency.objectives.tscarnet import TSCARNetObjective


class Dot(nn.Module):
    """One weight a channel, and a bias."""

    @nn.compact
    def __call__(self, image, train=False, aux=False):
        x = nn.Dense(1, name="encoder")(image)
        return {"map": nn.sigmoid(nn.Dense(1, name="head")(x)[..., 0])}


@dataclass(frozen=True)
class Distance:
    power: float = 2.0

    def __call__(self, out, batch):
        loss = (jnp.abs(out["map"] - batch["mask"]) ** self.power).mean()
        return loss, {"loss_distance": loss}


def started(weights: str):
    return {"params": {"encoder": {"kernel": np.full((3, 1), float(weights), np.float32)}}}


DOT = Network(lambda classes, width, norm, foreground: Dot(), Distance(), start=started)


def method(config: TrainConfig):
    return make_method(config, ("In",), 0.4, 0.2, 0.1)


def test_weights_of_the_networks_objective_are_flags():
    config = networks.override_objective(TrainConfig(), ["--objective.boundary", "0.25", "--seed=3"])
    assert config.objective == TSCARNetObjective(boundary=0.25)
    assert config.seed == 3
    other = networks.override_objective(TrainConfig(), ["--objective.structure=2", "--model.name", "minet"])
    assert other.objective == MINetObjective(structure=2.0)
    assert method(other).objective is other.objective
    with pytest.raises(UserError, match=r"--objective\.bondary \(did you mean '--objective\.boundary'\?\)"):
        networks.override_objective(TrainConfig(), ["--objective.bondary", "1"])
    with pytest.raises(UserError, match=r"objective\.boundary=-1.* not negative"):
        networks.override_objective(TrainConfig(), ["--objective.boundary", "-1"])


def test_the_networks_own_objective_is_stored_as_none():
    """So that runs from before objectives stood in the recipe go on."""
    assert networks.storable(TrainConfig(objective=TSCARNetObjective())) == TrainConfig()
    old = to_dict(TrainConfig())
    del old["objective"], old["model"]["weights"]
    assert as_now(old, TrainConfig) == to_dict(networks.storable(networks.with_objective(TrainConfig())))


def test_another_objective_is_stored_with_its_weights_and_comes_back():
    stored = to_dict(networks.storable(TrainConfig(objective=TSCARNetObjective(deep=0.5))))
    assert stored["objective"]["deep"] == 0.5
    back = from_dict(stored, TrainConfig)
    assert networks.objective_of(back) == TSCARNetObjective(deep=0.5)
    assert to_dict(networks.storable(back)) == stored
    stored["objective"]["class"] = "elsewhere:Loss"
    with pytest.raises(UserError, match="stored as one of elsewhere:Loss; give the recipe"):
        networks.objective_of(from_dict(stored, TrainConfig))


def test_a_recipe_may_hold_a_network_and_an_objective():
    config = validate(TrainConfig(model=ModelConfig(DOT), objective=Distance(1.0)))
    assert ("objective.power", float, 1.0) in list(leaves(config))
    assert method(config).objective == Distance(1.0)
    assert override(config, ["--seed", "2"]).model.name is DOT
    assert override(config, ["--model.name", "minet"]).model.name == "minet"
    stored = networks.storable(config)
    assert stored.model.name == f"{__name__}:DOT"
    with pytest.raises(UserError, match=f"network {__name__}:DOT: the package 'tests' does not register it"):
        networks.find(stored.model.name)
    with pytest.raises(UserError, match="a Network of no module"):
        networks.storable(TrainConfig(model=ModelConfig(DOT._replace(multiple=2))))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ModelConfig("tscarnett")}, r"model\.name: no network 'tscarnett' \(did you mean 'tscarnet'\?\)"),
        pytest.param({"model": ModelConfig(Dot())}, "neither a network's name nor a", marks=pytest.mark.misuse),
        ({"objective": 0.5}, "objective=0.5 is neither a name nor a thing"),
        ({"objective": "dice"}, "objective: 'dice' is no objective"),
        ({"objective": Distance}, "is no objective"),
        ({"model": ModelConfig("gcranet", weights="resnet18")}, "no pretrained encoder"),
        ({"model": ModelConfig(3.5)}, "model.name=3.5"),
        ({"method": "classifier", "objective": Distance()}, "objective is a saliency network's"),
    ],
)
def test_what_is_no_network_or_objective_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        method(validate(TrainConfig(**changes)))


def test_a_recipes_file_may_define_a_network(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from __future__ import annotations\n"
        f"from {__name__} import *\n"
        "from jaxqc.config import *\n"
        "@dataclass(frozen=True)\n"
        "class Loss:\n"
        "    weight: float = 1.0\n"
        "    def __call__(self, out, batch):\n"
        "        return self.weight * out['map'].mean(), {}\n"
        "OWN = Network(DOT.build, Loss())\n"
        "def get_config():\n"
        "    return TrainConfig(model=ModelConfig(name=OWN), objective=Loss(2.0))\n"
    )
    config = networks.override_objective(load_config(file), ["--objective.weight", "3"])
    stored = networks.storable(config)
    assert stored.model.name == "jaxqc_config_own:OWN"
    assert stored.objective == {"class": "jaxqc_config_own:Loss", "weight": 3.0}
    assert method(config).objective.weight == 3.0
    del sys.modules["jaxqc_config_own"]
    with pytest.raises(UserError, match=r"made in the recipe own\.py; move it into a package that registers it"):
        networks.find(stored.model.name)


def test_a_network_without_an_objective_cannot_be_written():
    with pytest.raises(TypeError, match="objective"):
        Network(lambda classes, width, norm, foreground: Dot())  # type: ignore[call-arg]


def test_pretrained_weights_take_the_place_of_drawn_ones():
    config = TrainConfig(model=ModelConfig(DOT, weights="7"), eval_size=8)
    with_start = jax.jit(method(config).init)(jax.random.key(0))["params"]
    drawn = jax.jit(method(dataclasses.replace(config, model=ModelConfig(DOT))).init)(jax.random.key(0))["params"]
    np.testing.assert_array_equal(with_start["encoder"]["kernel"], np.full((3, 1), 7.0))
    np.testing.assert_array_equal(with_start["head"]["kernel"], drawn["head"]["kernel"])
    wrong = DOT._replace(start=lambda weights: {"params": {"stem": np.ones(3, np.float32)}})
    with pytest.raises(UserError, match=r"model\.weights: params/stem has no place in this network"):
        method(TrainConfig(model=ModelConfig(wrong, weights="x"))).init(jax.random.key(0))


def test_every_own_name_is_known():
    assert networks.find("minet") is NETWORKS["minet"]
