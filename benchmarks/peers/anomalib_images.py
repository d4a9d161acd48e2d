"""anomalib's detectors of images at their fastest setting, and a plain autoencoder, served as `anomalib_learned` does.

Its torch modules and losses are imported from their own files and unchanged. A training step is put together as in the
`training_step` of its Lightning modules. What they paint on the host, textures and masks, is ready before the step is
timed, where ours is painted within it. The autoencoder (arXiv 1807.02011), of which anomalib has none, is written here.
The interpreter is that of `anomalib_learned`.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from anomalib_learned import Chosen, Learned, learned_modules  # beside this file, as the next two
from anomalib_peer import Arrays, Modules, load, serve
from torch import Tensor, nn
from torch_resnet import randomized

from benchmarks.peers.settings import (
    Call,
    Setting,
    arrange,
    best_setting,
    compiled,
    compiling,
    inference_call,
    layout,
    synchronizer,
)

WIDTHS, KERNELS, STRIDES = (32, 32, 32, 64, 64, 128, 64, 32), (4, 4, 3, 4, 3, 4, 3, 3), (2, 2, 1, 2, 1, 2, 1, 1)
LATENT, SLOPE = 100, 0.2
"""Numbers of the code of the autoencoder, and the slope of its activations below 0."""
SHARE = 0.4
"""Share of an image that is seen through a texture."""
anomalib = Modules()
"""Filled by `serve`."""


def image_modules() -> Modules:
    """anomalib's classes that the works need. Raises ImportError where it, or what they import, is not there."""
    import sys

    found = learned_modules(("layers",), ("draem", "ganomaly", "dsr"))
    for name in ("anomalib.data.utils", "anomalib.data.utils.generators", "anomalib.data.utils.image"):
        stand_in: Any = type(sys)(name)
        stand_in.generate_perlin_noise = None
        stand_in.pad_nextpow2 = lambda batch: batch  # of images whose sides are powers of two
        sys.modules[name] = stand_in
    layers: Any = sys.modules["anomalib.models.components.layers"]
    layers.SSPCAB = load("components.layers.sspcab").SSPCAB
    ganomaly = load("image.ganomaly.loss")
    return Modules(
        **found.__dict__,
        DraemModel=load("image.draem.torch_model").DraemModel,
        DraemLoss=load("image.draem.loss").DraemLoss,
        DsrModel=load("image.dsr.torch_model").DsrModel,
        DsrLoss=load("image.dsr.loss").DsrSecondStageLoss,
        GanomalyModel=load("image.ganomaly.torch_model").GanomalyModel,
        GanomalyLoss=ganomaly.GeneratorLoss,
        GanomalyCriticLoss=ganomaly.DiscriminatorLoss,
    )


class Autoencoder(nn.Module):
    """Images [n 3 s s] in [0, 1] → squared differences [n s s] from the same through 100 numbers, and their largest."""

    def __init__(self, size: int) -> None:
        super().__init__()
        steps, inputs = list(zip(WIDTHS, KERNELS, STRIDES, strict=True)), (3, *WIDTHS[:-1])
        grid = size // 2 ** sum(stride == 2 for stride in STRIDES)
        down = [nn.Conv2d(i, o, k, s, (k - 1) // 2) for i, (o, k, s) in zip(inputs, steps, strict=True)]
        up = [
            nn.ConvTranspose2d(o, i, k, s, 1) if s == 2 else nn.Conv2d(o, i, k, 1, (k - 1) // 2)
            for i, (o, k, s) in zip(inputs, steps, strict=True)
        ]
        self.encode, self.decode = nn.ModuleList(down), nn.ModuleList(up)
        self.code, self.back = nn.Conv2d(WIDTHS[-1], LATENT, grid), nn.ConvTranspose2d(LATENT, WIDTHS[-1], grid)

    def rebuilt(self, image: Tensor) -> Tensor:
        x, leaky = image, partial(nn.functional.leaky_relu, negative_slope=SLOPE)
        for layer in self.encode:
            x = leaky(layer(x))
        x = leaky(self.back(self.code(x)))
        for number in range(len(self.decode) - 1, -1, -1):
            x = self.decode[number](x)
            x = leaky(x) if number else x.sigmoid()
        return x

    def forward(self, image: Tensor) -> Any:
        rebuilt = self.rebuilt(image)
        if self.training:
            return rebuilt
        maps = (image - rebuilt).square().mean(1)
        return Answer(maps, maps.amax((1, 2)))


class Answer(tuple):
    """A map and scores by anomalib's names."""

    def __new__(cls, anomaly_map: Tensor, pred_score: Tensor) -> "Answer":
        return super().__new__(cls, (anomaly_map, pred_score))

    anomaly_map = property(lambda self: self[0])
    pred_score = property(lambda self: self[1])


def network_of(member: str, size: int) -> nn.Module:
    """A member with random weights, the same at each call."""
    torch.manual_seed(0)
    made: dict[str, Callable[[], nn.Module]] = {
        "conv_ae": partial(Autoencoder, size),
        "draem": lambda: anomalib.DraemModel(),
        "dsr": lambda: anomalib.DsrModel(),
        "ganomaly": lambda: anomalib.GanomalyModel((size, size), 3, 64, 100),
    }
    network = randomized(made[member]())
    if member == "dsr":  # near what the encoders give, so that many codes are in use
        for name in ("_vq_vae_top", "_vq_vae_bot"):
            getattr(network.discrete_latent_model, name)._embedding.weight.data.normal_(0, 0.5)
    return network


def painted(images: Tensor) -> tuple[Tensor, Tensor]:
    """Half of the images with noise in a square of them, and the masks [n 1 h w] of these."""
    side = images.shape[-1]
    masks = torch.zeros_like(images[:, :1])
    masks[::2, :, side // 4 : side // 2, side // 4 : side // 2] = 1
    texture = torch.rand(images.shape, generator=torch.Generator().manual_seed(0)).to(images)
    return torch.where(masks > 0, SHARE * images + (1 - SHARE) * texture, images), masks


def dsr_parts(network: Any) -> list[nn.Module]:
    """The networks of the stage that makes codes normal."""
    return [network.image_reconstruction_network, network.subspace_restriction_module_hi,
            network.subspace_restriction_module_lo, network.anomaly_detection_module]  # fmt: skip


def trainable(member: str, network: Any) -> list[nn.Parameter]:
    """The parameters that are trained."""
    parts = dsr_parts(network) if member == "dsr" else [network]
    return [p for part in parts for p in part.parameters() if p.requires_grad]


def loss_of(member: str, network: Any, images: Tensor, seen: Tensor, masks: Tensor) -> Tensor:
    """The loss of a batch, but for GANomaly (`player_step`)."""
    if member == "conv_ae":
        return nn.functional.mse_loss(network(images), images)
    if member == "draem":
        rebuilt, found = network(seen)
        return anomalib.DraemLoss()(images, rebuilt, masks, found)
    out = network(images, masks)
    names = "recon_feat_hi", "recon_feat_lo", "embedding_bot", "embedding_top"
    features = [out[name] for name in names]
    return anomalib.DsrLoss()(*features, images, out["obj_spec_image"], out["anomaly_map"], out["true_anomaly_map"])


def player_step(network: Any, maker: torch.optim.Optimizer, critic: torch.optim.Optimizer, images: Tensor) -> Tensor:
    """A step of GANomaly's network and one of its critic."""
    image, made, code, again = network(images)
    real, _ = network.discriminator(image)
    loss = anomalib.GanomalyLoss()(code, again, image, made, real, network.discriminator(made)[0])
    maker.zero_grad()
    loss.backward(retain_graph=True)
    maker.step()
    words = anomalib.GanomalyCriticLoss()(network.discriminator(image)[0], network.discriminator(made.detach())[0])
    critic.zero_grad()
    words.backward()
    critic.step()
    return loss.detach()


RATES = {"conv_ae": 2e-4, "draem": 1e-4, "dsr": 2e-4}


def step_call(member: str, network: nn.Module, setting: Learned, images: Tensor) -> Call:
    """A call without arguments that does one training step and returns the loss, not waited for. Compiled before it is
    returned, where the setting says so."""
    own: Any = arrange(network, setting, images.device).train()
    x, (seen, masks) = layout(images, setting), painted(images)
    if member == "ganomaly":
        adam = partial(torch.optim.Adam, lr=2e-4, betas=(0.5, 0.999), fused=True)
        players = adam(own.generator.parameters()), adam(own.discriminator.parameters())
        call = partial(player_step, own, *players, x)
    else:
        optimizer = torch.optim.Adam(trainable(member, own), lr=RATES[member], fused=True)
        objective = compiled(partial(loss_of, member, own), setting)
        given = x, layout(seen, setting), masks

        def call() -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            loss = objective(*given)
            loss.backward()
            optimizer.step()
            return loss.detach()

    with compiling(setting):
        call()
    return call


def settings_of(member: str, compile: bool, train: bool) -> Iterator[Learned]:
    """Settings worth trying, cheapest to prepare first; a step of GANomaly's two players is not compiled whole."""
    for last in (False, True):
        setting = Learned(channels_last=last)
        if not compile:
            yield setting
        elif member != "ganomaly" or not train:
            yield replace(setting, compile="default", freezing=not train)


def learned(
    member: str, backbone: str, layers: list[int], images: str, compile: bool, train: bool, budget: float,
    seconds: float, device: str,
) -> Chosen:  # fmt: skip
    """As `anomalib_learned.learned`; GANomaly has no map, for which its score stands."""
    pixels = torch.from_numpy(np.load(images)).permute(0, 3, 1, 2).float() / 255
    network = network_of(member, pixels.shape[-1]).to(device)
    x, sync = pixels.to(device), synchronizer(torch.device(device))

    def prepare(setting: Setting) -> Call:
        assert isinstance(setting, Learned)
        return step_call(member, network, setting, x) if train else inference_call(network, setting, x)

    lines: list[str] = []
    settings = list(settings_of(member, compile, train))
    setting, call, _ = best_setting(prepare, settings, torch.device(device), seconds, budget, lines.append)

    def run() -> Arrays:
        out = call()
        if sync:
            sync()
        if train:
            return {"loss": out}
        maps = out.pred_score if out.anomaly_map is None else out.anomaly_map.reshape(x[:, 0].shape)
        return {"map": maps, "score": out.pred_score}

    count = sum(p.numel() for p in trainable(member, network))
    return Chosen(run, {"setting": setting.name, "tried": lines, "parameters": count})


def state(member: str, backbone: str, layers: list[int], size: int) -> Callable[[], Arrays]:
    """The random weights that `learned` scores with, by their names."""
    network = network_of(member, size)
    return lambda: {name: value for name, value in network.state_dict().items() if value.numel() > 0}


if __name__ == "__main__":
    serve(image_modules, anomalib, {"learned": learned, "state": state})
