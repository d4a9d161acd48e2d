"""Networks that rebuild an image, or its features, as good ones are: the settings of the family."""

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jaxqc.anomaly.detectors.base import ASTRAY, SLOWER, BackboneConfig, TrainingConfig, check_top
from jaxqc.anomaly.detectors.reconstruction_parts import (
    ADVERSARY,
    DESCENT,
    MEMORY,
    MIXTURE,
    AdversaryConfig,
    DescentConfig,
    MemoryConfig,
    MixtureConfig,
    check_alone,
)
from jaxqc.anomaly.detectors.token_settings import TOKENS, TokensConfig
from jaxqc.anomaly.detectors.trainings import ADAM
from jaxqc.anomaly.learned.corrupt import TEXTURED, Corrupt
from jaxqc.errors import UserError
from jaxqc.fields import check_positive

if TYPE_CHECKING:
    from jaxqc.anomaly.reconstruction.detector import Reconstructed

Encoder = Literal["conv", "deep", "unet", "pointwise", "tokens", "dcgan", "search", "vector_unet", "bands", "residual"]
Seen = Literal[Corrupt, "grid"]
Shown = Literal["l1", "l2", "ssim", "msgms", "norm", "head", "projection", "attention"]


PLAYERS = ("dcgan", "search", "vector_unet", "bands", "residual")
"""Encoders that go with an adversary alone."""
CODELESS = ("deep", "unet", "tokens", "vector_unet", "bands")
"""Encoders whose code is a map, or past which the maps go."""


class Networks(NamedTuple):
    """The trained networks of a fit of before maps were relative: their parameters, batch norm folded."""

    params: Any


class Rebuilder(NamedTuple):
    """The trained networks, batch norm folded, and the usual difference [h w] of each cell of good images."""

    params: Any
    usual: Any


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of the loss; 0 leaves one out. All are means over pixels and channels."""

    l1: float = 0.0
    """Absolute difference of the image and the rebuilt one."""
    l2: float = 0.0
    """Squared difference."""
    ssim: float = 0.0
    """One less the structural similarity (window of 11 pixels, deviation 1.5)."""
    msgms: float = 0.0
    """One less the similarity of gradient magnitudes, over four scales."""
    kl: float = 0.0
    """Distance of a variational code from the standard normal, where the others are sums over pixels and channels."""
    entropy: float = 0.0
    """Entropy of the weights of a memory's codes."""
    adversarial: float = 0.0
    """Cross entropy of the critic, which is to take what is rebuilt for real."""
    feature: float = 0.0
    """Squared difference of the critic's features."""
    relatent: float = 0.0
    """Squared difference of the code and that of the rebuilt image, by an encoder of its own."""
    focal: float = 0.0
    """Focal loss of the head's pixels, both classes alike."""


STAIN_TRAINING = TrainingConfig(250.0, 16, replace(ADAM, lr=1e-3, schedule="cosine"))
"""The authors' length and batch; their rate, 1e-2, falls where the loss no longer does."""


@dataclass(frozen=True)
class ReconstructionConfig:
    """A network that rebuilds good images: where what it gives differs from what it saw, something is wrong.

    Those of convolutions see the image itself: `--backbone.name pixels --backbone.layers 1`.
    """

    encoder: Encoder = "conv"
    """`conv`: a chain of convolutions (`widths`, `kernels`, `strides`) and the same mirrored. `deep`: five levels of
    two convolutions with pooling between them, and back, of DRAEM. `unet`: five levels of strided convolutions whose
    maps go past the code, of RIAD. `pointwise`: layers of each position alone, on a backbone's features. `tokens`: a
    transformer over the cells of a backbone's features (the field `tokens`). `dcgan`: strided convolutions to a vector
    and back. `search`: the way back alone, whose vector is sought. `vector_unet`: as `unet`, down to one pixel;
    `bands`: one for each of two frequency bands. `residual`: a network that makes images of codes, and then one that
    finds the codes. The last five go with an `adversary`. The fields from `widths` to `norm` are those of a chain
    alone."""
    width: float = 1.0
    """Factor on every channel count."""
    widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    """Channels of each step of a chain."""
    kernels: tuple[int, ...] = (5, 5, 5, 5, 5, 5)
    """Side of each step's kernel."""
    strides: tuple[int, ...] = (2, 2, 2, 2, 2, 2)
    """By which each step divides the sides: 1 or 2."""
    up: Literal["transposed", "nearest"] = "nearest"
    """The way to larger maps: a transposed convolution, or repeated values and a convolution."""
    skips: Literal["none", "add", "concat"] = "none"
    """A step's map goes past the code to the decoder's map of its size; so it needs `corrupt`."""
    norm: bool = True
    """Batch norm behind every convolution but the last."""
    latent: int = 0
    """Numbers of the code of `conv`, `pointwise`, `dcgan`, `search` and `residual`; 0 = the last map is the code of
    `conv`, and `kept` says how many numbers that of `pointwise` has."""
    kept: float = 0.9
    """Share of the features' variance in as many principal components as the code of a `pointwise` encoder has."""
    tokens: TokensConfig = TOKENS
    grid: Literal["finest", "coarsest"] = "finest"
    """The layer on whose grid a backbone's layers are rebuilt; to a coarser one they are averaged."""
    cells: int = 0
    """Cells of each image that a step draws, for a `pointwise` encoder; 0 = all."""
    variational: bool = False
    """The code is drawn from a Gaussian, whose mean and deviation the encoder gives; a score takes the mean."""
    memory: MemoryConfig = MEMORY
    """Learned codes that the code is made of, at each position of a map or as a whole."""
    corrupt: Seen = "none"
    """Synthetic defects in what the network sees, which it is to take away (`jaxqc.anomaly.learned.corrupt`). `grid`:
    each of three sets of square cells is hidden in turn, and filled from the others; the map is the mean over cells
    of 2, 4, 8 and 16 pixels."""
    share: float = 1.0
    """Share of the images that get them."""
    pictures: str = ""
    """A folder of textures, whose pictures are all taken, for `corrupt=texture`; "" = generated ones."""
    head: Literal["none", "unet"] = "none"
    """`unet`: a second network that sees the image and the rebuilt one, and says where they were painted."""
    loss: LossWeights = LossWeights(l2=1.0)
    map: Shown = "l2"
    """The difference that makes the map, by the terms of `loss`, or the `head`'s probability. `norm`: the length of the
    difference of a cell's features. Of a variational code: `projection`, the way to the nearest image that is rebuilt
    well (arXiv 2002.03734), and `attention`, a map of the encoder weighted by the gradient of the code (CVPR 2020)."""
    relative: bool = True
    """Each cell's difference is over the usual one of its place: the mean over the fitted images. Networks rebuild the
    rim of every image badly, as convolutions see zeros beyond it. Not of a `head`, which gives probabilities."""
    image: Literal["map", "latent", "critic", "mixed", "density"] = "map"
    """The image's score: of the map; of a variational code how improbable it is, with its error (`mixture`). Of an
    adversary's player the squared difference of the codes; the critic's probability that what is rebuilt is no real
    image; or map and critic's features (`adversary.share`)."""
    descent: DescentConfig = DESCENT
    """The way of `map=projection` and of `encoder=search`, and the layer of `map=attention`."""
    mixture: MixtureConfig = MIXTURE
    """The density of `image=density`."""
    adversary: AdversaryConfig = ADVERSARY
    """A critic that learns beside the network."""
    sigma: float = 0.0
    """Standard deviation of the map's smoothing, in pixels; 0 = none."""
    window: int = 1
    """Side in pixels, an odd number, of squares whose mean counts for the image's score."""
    top: float = 1.0
    """Highest of them whose mean is the image's score; below 1 a share of all pixels."""
    training: TrainingConfig = STAIN_TRAINING

    states = (Networks, Rebuilder)

    def check(self, where: str) -> None:
        """Checks what no single field's type can. Raises UserError."""
        self.training.check(f"{where}.training")
        self.tokens.check(f"{where}.tokens")
        self.memory.check(f"{where}.memory")
        self.descent.check(f"{where}.descent")
        self.mixture.check(f"{where}.mixture")
        self.adversary.check(f"{where}.adversary")
        self._check_players(where)
        check_top(self.top, where)
        check_positive({"width": self.width, "share": self.share}, where)
        for name, share in (("share", self.share), ("kept", self.kept)):
            if share > 1:
                raise UserError(f"{where}: {name}={share!r} is a share; give at most 1")
        if self.window % 2 == 0:
            raise UserError(f"{where}: window={self.window} must be odd")
        if self.encoder == "conv":
            from jaxqc.anomaly.reconstruction.networks import chain_spec

            chain_spec(self).check(where)
        past = self.skips != "none" or self.encoder in ("unet", "vector_unet", "bands")
        if past and self.corrupt == "none" and not self.loss.feature:
            raise UserError(f"{where}: encoder={self.encoder}, skips={self.skips}: the network would copy what it sees;"
                            " set corrupt, such as stain, or take encoder=conv, skips=none")  # fmt: skip
        if self.pictures and self.corrupt not in TEXTURED:
            raise UserError(f"{where}: pictures={self.pictures!r}: corrupt={self.corrupt} shows none; leave it out")
        if self.corrupt == "grid" and (self.variational or self.share < 1 or self.loss.entropy):
            raise UserError(f"{where}: corrupt=grid hides all of every image in turn; set share=1, variational=false,"
                            " loss.entropy=0")  # fmt: skip
        if self.latent and self.encoder in CODELESS:
            raise UserError(f"{where}: latent={self.latent}: encoder={self.encoder} has no code of numbers; set 0")
        if self.variational and self.encoder != "conv":
            raise UserError(f"{where}: encoder={self.encoder}: a variational code goes with encoder=conv alone; set it")
        if self.variational and not self.latent:
            raise UserError(f"{where}: variational needs a code of numbers; set latent, such as 128")
        if (self.loss.kl > 0) != self.variational:
            raise UserError(f"{where}: loss.kl={self.loss.kl!r} goes with variational alone, which needs it")
        if self.loss.entropy and not self.memory.slots:
            raise UserError(f"{where}: loss.entropy={self.loss.entropy!r} goes with a memory; set memory.slots")
        if self.memory.slots and self.encoder != "conv":
            raise UserError(f"{where}: memory.slots={self.memory.slots} goes with encoder=conv alone; set slots=0")
        if self.map in ("projection", "attention") and not (self.variational and self.corrupt == "none"):
            raise UserError(f"{where}: map={self.map} shows a variational code; set variational=true, corrupt=none")
        if self.image == "density" and not (self.variational and self.map in ("l1", "l2", "ssim", "msgms")):
            raise UserError(
                f"{where}: image=density is of a variational code and its error; set variational=true, map=l2"
            )
        if self.map == "attention" and self.descent.layer > len(self.widths):
            raise UserError(f"{where}: descent.layer={self.descent.layer}: the encoder has {len(self.widths)} steps")
        if (self.cells or self.encoder in ("pointwise", "tokens")) and self.corrupt != "none":
            raise UserError(f"{where}: corrupt={self.corrupt}: single cells and features are rebuilt as they are; set"
                            " corrupt=none, or encoder=conv and cells=0")  # fmt: skip
        if self.cells and self.encoder != "pointwise":
            raise UserError(f"{where}: cells={self.cells}: a network of whole images sees all; set cells=0")
        whole = self.head != "none"
        if whole != (self.map == "head") or whole != (self.loss.focal > 0):
            raise UserError(f"{where}: head={self.head}, map={self.map}, loss.focal={self.loss.focal!r}: a head makes"
                            " the map and has a loss; set all three, or none")  # fmt: skip
        if whole and self.relative:
            raise UserError(f"{where}: head={self.head}: its map is a probability already; set relative=false")
        if whole and self.corrupt in ("none", "noise", "grid"):
            raise UserError(f"{where}: corrupt={self.corrupt}: a head learns where defects are; set corrupt=texture")
        if not max(self.loss.l1, self.loss.l2, self.loss.ssim, self.loss.msgms, self.loss.adversarial) > 0:
            raise UserError(
                f"{where}: loss: nothing compares the images; set loss.l2, loss.ssim, loss.l1 or loss.msgms"
            )

    def _check_players(self, where: str) -> None:
        """Checks what a critic needs, and what needs a critic."""
        game, loss = self.adversary.game, self.loss
        weights = {name: getattr(loss, name) for name in ("adversarial", "feature", "relatent")}
        if game == "none":
            given = [name for name, weight in weights.items() if weight]
            if given or self.image not in ("map", "density") or self.encoder in PLAYERS:
                raise UserError(f"{where}: encoder={self.encoder}, image={self.image}, loss: {', '.join(given) or '-'}:"
                                " one of these needs a critic; set adversary.game=gan")  # fmt: skip
            return
        if (self.encoder == "residual") != (game == "wgan_gp"):
            raise UserError(f"{where}: encoder={self.encoder}, adversary.game={game}: a critic whose slope is penalised"
                            " is that of encoder=residual; set wgan_gp there, and gan or pair elsewhere")  # fmt: skip
        if self.encoder == "residual" and not hasattr(self, "start"):
            raise UserError(f"{where}: encoder=residual is trained in two stages; take --method f_anogan")
        if self.encoder == "residual" and (loss.adversarial or self.corrupt != "none"):
            raise UserError(f"{where}: corrupt={self.corrupt}, loss.adversarial={loss.adversarial!r}: codes are found"
                            " of images as they are, by differences; set corrupt=none, loss.adversarial=0")  # fmt: skip
        if self.encoder != "residual":  # whose players are trained before, by `start`
            check_alone(self.training, f"{where}.training")
        if self.encoder not in (*PLAYERS, "conv"):
            raise UserError(f"{where}: encoder={self.encoder} has no adversary; take conv, or one of {PLAYERS}")
        if self.head != "none" or self.corrupt == "grid":
            raise UserError(f"{where}: an adversary goes without head and corrupt=grid; leave them out")
        if self.map not in ("l1", "l2", "ssim", "msgms"):
            raise UserError(f"{where}: map={self.map} goes without an adversary; set map=l2")
        if self.image == "mixed" and self.map not in ("l1", "l2"):
            raise UserError(f"{where}: image=mixed sums differences of values, and map={self.map} none; set map=l2")
        if self.encoder in ("dcgan", "search", "residual") and not self.latent:
            raise UserError(f"{where}: encoder={self.encoder} needs a code of numbers; set latent, such as 100")
        if (loss.relatent > 0 or self.image == "latent") and not (self.encoder == "dcgan" and loss.relatent > 0):
            raise UserError(f"{where}: loss.relatent={loss.relatent!r}, image={self.image}: encoder=dcgan alone has a"
                            " second encoder, where loss.relatent is set")  # fmt: skip
        if game == "pair" and self.encoder != "dcgan":
            raise UserError(f"{where}: adversary.game=pair: a critic of codes goes with encoder=dcgan; set it")
        others = [f.name for f in fields(loss) if f.name != "adversarial" and getattr(loss, f.name)]
        if (game == "pair" or self.encoder == "search") and (others or self.corrupt != "none"):
            raise UserError(f"{where}: corrupt={self.corrupt}, loss: {', '.join(others) or '-'}: this training compares"
                            " no image with a rebuilt one; set corrupt=none, and loss.adversarial alone")  # fmt: skip

    @property
    def advice(self) -> str:
        """The way out where scores are not finite: without a clip where that would couple two players."""
        return ASTRAY if self.adversary.game == "none" else SLOWER

    def on(self, backbone: BackboneConfig) -> "Reconstructed":
        """This detector for a backbone."""
        from jaxqc.anomaly.reconstruction.detector import Reconstructed

        return Reconstructed(self, backbone)
