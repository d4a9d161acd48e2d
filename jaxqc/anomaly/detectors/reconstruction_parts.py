"""Settings of parts that a network which rebuilds may have: a memory, a score by descent, a critic."""

from dataclasses import dataclass
from typing import Literal

from jaxqc.anomaly.detectors.base import TrainingConfig
from jaxqc.errors import UserError
from jaxqc.fields import check_positive, check_seed


@dataclass(frozen=True)
class MemoryConfig:
    """Learned codes of good images, of which a few make up the code of each position."""

    slots: int = 0
    """Learned codes; 0 = no memory."""
    least: float = 0.0025
    """Weights up to this are left out; 1 to 3 over `slots` are usual."""

    def check(self, where: str) -> None:
        """Raises UserError for numbers out of range."""
        if self.slots < 0 or not 0 <= self.least < 1:
            raise UserError(f"{where}: slots={self.slots!r}, least={self.least!r}: give at least 0, and least below 1")


@dataclass(frozen=True)
class MixtureConfig:
    """Gaussians of good images' codes and errors, which are fitted once the network is trained."""

    parts: int = 1
    """Gaussians; more than 1 need many images for each number of the code."""
    reg: float = 1e-3
    """Added to the variances, in units of each number's own."""
    seed: int = 0
    """Draws the start of several (k-means++)."""

    def check(self, where: str) -> None:
        """Raises UserError for numbers out of range."""
        check_seed(self.seed, where)
        check_positive({"parts": self.parts, "reg": self.reg}, where)


@dataclass(frozen=True)
class DescentConfig:
    """Steps of descent in which an image, or its code, is changed before it is scored: always as many."""

    steps: int = 100
    """Steps; each is a pass forward and back."""
    rate: float = 0.5
    """Factor on a step; of `encoder=search` Adam's rate."""
    distance: float = 0.05
    """Weight of the distance from the image itself, by `map=projection`."""
    seed: int = 0
    """The code from which `encoder=search` starts, the same for every image."""
    layer: int = 3
    """Step of the encoder whose map `map=attention` shows."""

    def check(self, where: str) -> None:
        """Raises UserError for numbers out of range."""
        check_positive({"steps": self.steps, "rate": self.rate, "layer": self.layer}, where)
        if self.distance < 0:
            raise UserError(f"{where}: distance={self.distance!r} must be at least 0")


@dataclass(frozen=True)
class AdversaryConfig:
    """A critic, which learns beside the network to know real images from what the network makes."""

    game: Literal["none", "gan", "pair", "wgan_gp"] = "none"
    """`gan`: of images. `pair`: of images with their codes, the encoder's against drawn ones (BiGAN). `wgan_gp`: of
    images, by a distance in place of a cross entropy, with `penalty`."""
    width: int = 64
    """Channels of the critic's first map, by the recipe's `width`."""
    vector: bool = False
    """The critic's features are 100 numbers; else its last map."""
    matched: bool = False
    """The critic's own loss, too, has the distance of its features (arXiv 1901.08954)."""
    pasted: bool = False
    """Images with a piece cut and pasted are further fakes for the critic (arXiv 2203.00259)."""
    penalty: float = 0.0
    """Weight by `wgan_gp` of the critic's slope, whose norm is to be 1 between real and made images."""
    every: int = 1
    """Steps of the critic to one of the network, which rests meanwhile."""
    share: float = 0.1
    """Share of the critic's features in an image's score by `image=mixed`, and in what `encoder=search` makes least;
    the map has the rest."""
    average: float = 0.0
    """Share that a mean of all parameters keeps of itself each step, which is then what scores; 0 = none."""

    def check(self, where: str) -> None:
        """Raises UserError for numbers out of range."""
        check_positive({"width": self.width, "every": self.every}, where)
        if (self.penalty > 0) != (self.game == "wgan_gp"):
            raise UserError(f"{where}: penalty={self.penalty!r} goes with game=wgan_gp, which needs it; set both")
        if not (0 <= self.share <= 1 and 0 <= self.average < 1):
            raise UserError(f"{where}: share={self.share!r}, average={self.average!r}: give shares, average below 1")
        if self.game in ("pair", "wgan_gp") and (self.vector or self.matched or self.pasted):
            raise UserError(f"{where}: game={self.game} has neither vector nor matched nor pasted; leave them out")


def check_alone(training: TrainingConfig, where: str) -> None:
    """Checks that nothing but the loss moves either of two players.

    Raises:
      UserError: gradients are clipped by their common norm, or weights decay.

    Examples:
      >>> from jaxqc.anomaly.detectors.trainings import ADAM
      >>> check_alone(TrainingConfig(optim=ADAM), "detector.training")
    """
    optim = training.optim
    if optim.clip or optim.weight_decay:
        raise UserError(
            f"{where}: optim.clip={optim.clip:g}, weight_decay={optim.weight_decay:g}: both couple two players who are"
            " to move alone; set both to 0"
        )


MEMORY, DESCENT, ADVERSARY, MIXTURE = MemoryConfig(), DescentConfig(), AdversaryConfig(), MixtureConfig()
"""No memory, the usual descent, no adversary, and one Gaussian."""
