"""anomalib's networks on weights that are handed over: their features, losses and maps, served to the tests of parity.

They are imported as `anomalib_learned` imports its own, for the same interpreter, from their own files and unchanged.
Where a map is defined otherwise than ours, it is made of anomalib's parts so that it is ours; each function says so.
"""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from anomalib_learned import learned_modules  # beside this file, as the next
from anomalib_peer import Arrays, Modules, load, serve
from torch import Tensor, nn

anomalib = Modules()
"""Filled by `serve`."""


def forward_modules() -> Modules:
    """anomalib's classes that the members need. Raises ImportError where it, or what they import, is not there."""
    found = learned_modules(
        ("base", "stats"), ("supersimplenet", "dinomaly", "csflow", "patchcore", "padim", "ganomaly", "dsr")
    )
    for name in ("anomalib.data.utils", "anomalib.data.utils.generators"):  # of which no forward pass needs a thing
        stand_in: Any = type(sys)(name)
        stand_in.generate_perlin_noise = None
        sys.modules[name] = stand_in
    components: Any = sys.modules["anomalib.models.components"]
    base: Any = sys.modules["anomalib.models.components.base"]
    components.KCenterGreedy = None
    base.DynamicBufferMixin = components.DynamicBufferMixin = load("components.base.dynamic_buffer").DynamicBufferMixin
    components.MultiVariateGaussian = load("components.stats.multi_variate_gaussian").MultiVariateGaussian
    cs_flow = load("image.csflow.torch_model")
    image_utils: Any = type(sys)("anomalib.data.utils.image")
    image_utils.pad_nextpow2 = lambda batch: batch  # of images whose sides are powers of two
    sys.modules["anomalib.data.utils.image"] = image_utils
    ganomaly_loss = load("image.ganomaly.loss")
    return Modules(
        **found.__dict__,
        SupersimplenetModel=load("image.supersimplenet.torch_model").SupersimplenetModel,
        DinomalyModel=load("image.dinomaly.torch_model").DinomalyModel,
        CrossScaleFlow=cs_flow.CrossScaleFlow,
        CsFlowModel=cs_flow.CsFlowModel,
        ParallelPermute=cs_flow.ParallelPermute,
        CsFlowMap=load("image.csflow.anomaly_map").AnomalyMapGenerator,
        CsFlowLoss=load("image.csflow.loss").CsFlowLoss,
        PatchcoreModel=load("image.patchcore.torch_model").PatchcoreModel,
        PadimModel=load("image.padim.torch_model").PadimModel,
        DsrModel=load("image.dsr.torch_model").DsrModel,
        GanomalyModel=load("image.ganomaly.torch_model").GanomalyModel,
        GanomalyLoss=ganomaly_loss.GeneratorLoss,
        GanomalyCriticLoss=ganomaly_loss.DiscriminatorLoss,
    )


def filled(network: nn.Module, weights: Arrays) -> Any:
    """The network with these arrays for its own of the same names, in evaluation mode. What has none stays as it is.

    Raises ValueError where it has no such array, or one of another shape.
    """
    own = network.state_dict()
    for name, value in weights.items():
        if name not in own or own[name].shape != value.shape:
            raise ValueError(f"{name} {tuple(value.shape)}: the network has {own[name].shape if name in own else None}")
        own[name].copy_(value)
    return network.eval()


def larger(x: Tensor, size: int) -> Tensor:
    """A map [n 1 h w] at an image's size."""
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)[:, 0]


def stfpm(weights: Arrays, given: Arrays) -> Arrays:
    """The map is the cube root of the product of the layers' squared distances on the finest grid, enlarged."""
    network = filled(anomalib.STFPMModel(["layer1", "layer2", "layer3"], "resnet18"), weights)
    teacher, student = network.teacher_model(given["image"]), network.student_model(given["image"])
    product = network.anomaly_map_generator.compute_anomaly_map(teacher, student, teacher["layer1"].shape[2:])
    maps = larger(8 * product, given["image"].shape[-1]) ** (1 / 3)
    return {"map": maps, "loss": anomalib.STFPMLoss()(student, teacher), **student}


def fastflow(weights: Arrays, given: Arrays) -> Arrays:
    size = given["image"].shape[-1]
    network = filled(anomalib.FastflowModel((size, size), "resnet18", False), weights)
    zs, dets = network.train()(given["image"])
    maps = network.eval()(given["image"]).anomaly_map[:, 0]
    found = {f"z{i}": z for i, z in enumerate(zs)} | {f"det{i}": d for i, d in enumerate(dets)}
    return {"map": maps, "loss": anomalib.FastflowLoss()(zs, dets), **found}


def cflow(weights: Arrays, given: Arrays) -> Arrays:
    """With the largest ln p over its channels of each layer, over the batch."""
    network = filled(anomalib.CflowModel("resnet18", ["layer2", "layer3"], False, 10**6), weights)
    loss, most = torch.zeros(()), []
    features = network.encoder(given["image"])
    for decoder, name in zip(network.decoders, network.pool_layers, strict=True):
        b, c, h, w = features[name].shape
        cells = features[name].permute(0, 2, 3, 1).reshape(-1, c)
        position = anomalib.positional_encoding_2d(network.condition_vector, h, w)
        condition = position.permute(1, 2, 0).reshape(-1, network.condition_vector).repeat(b, 1)
        density = anomalib.get_logp(c, *decoder(cells, [condition])) / c
        loss, most = loss - F.logsigmoid(density).mean(), [*most, density.max()]
    return {"map": network(given["image"]).anomaly_map, "loss": loss, "most": torch.stack(most)}


def cs_flow(weights: Arrays, given: Arrays) -> Arrays:
    """From features at three scales. order0, order1, ...: of the channels, before each coupling."""
    size = 32 * given["x0"].shape[-1]
    flow = filled(anomalib.CrossScaleFlow((3, size, size), 4, 3.0, 16), weights)
    permutations = [m for m in flow.modules() if isinstance(m, anomalib.ParallelPermute)]
    for i, permutation in enumerate(permutations):
        permutation.perm = [given[f"order{i}"].long()] * 3
    zs, det = flow([given[f"x{i}"] for i in range(3)])
    maps = anomalib.CsFlowMap((3, size, size))(zs)[:, 0]
    found = {f"z{i}": z for i, z in enumerate(zs)} | {"det": det, "loss": anomalib.CsFlowLoss()(zs, det)}
    return {"map": maps, "score": anomalib.CsFlowModel._compute_anomaly_scores(zs), **found}


def supersimplenet(weights: Arrays, given: Arrays) -> Arrays:
    """Cells at the rim are means of those that are there. The map is the softplus of the logits, and not smoothed."""
    network = filled(anomalib.SupersimplenetModel(backbone="resnet18", layers=["layer2", "layer3"]), weights)
    network.feature_extractor.pooler.count_include_pad = False
    features = network.feature_extractor(given["image"])
    cells, score = network.segdec(seg_features=network.adaptor(features), cls_features=features)
    return {"map": larger(F.softplus(cells), given["image"].shape[-1]), "cells": cells[:, 0], "score": score}


def dinomaly(weights: Arrays, given: Arrays) -> Arrays:
    """With the tokens of the encoder, which keeps the weights that it was made with. The map is not smoothed."""
    torch.manual_seed(0)
    network = filled(anomalib.DinomalyModel("vit_small_patch14_reg4_dinov2"), weights)
    tokens = network.encoder(given["image"])
    teacher, student = network.get_encoder_decoder_outputs(given["image"])
    with torch.enable_grad():  # the loss hooks itself onto the gradients
        student = [x.requires_grad_() for x in student]
        loss = network.loss_fn(encoder_features=teacher, decoder_features=student, global_step=10_000)
    found = network(given["image"])
    each = {f"tokens{i}": tokens[f"blocks.{i}"] for i in network.target_layers}
    each |= {f"answer{i}": x for i, x in enumerate(student)}
    return {"map": found.anomaly_map[:, 0], "loss": loss, **each}


def patchcore(weights: Arrays, given: Arrays) -> Arrays:
    """By the given `bank`, of features that are not averaged first. The map is on the features' grid."""
    network = filled(anomalib.PatchcoreModel(["layer2", "layer3"], "resnet18", False), weights)
    network.feature_pooler, network.memory_bank = nn.Identity(), given["bank"]
    network.anomaly_map_generator.blur = nn.Identity()
    found = network(given["image"])
    return {"map": found.anomaly_map[:, 0, ::8, ::8], "score": found.pred_score}  # enlarged by repeating


def padim(weights: Arrays, given: Arrays) -> Arrays:
    """Fitted to the images `normal`, with the channels `channels`."""
    network = anomalib.PadimModel("resnet18", ["layer1", "layer2", "layer3"], False, len(given["channels"]))
    network = filled(network, weights)
    network.idx = given["channels"].long()
    network.train()(given["normal"])
    network.fit()
    found = network.eval()(given["image"])
    return {"map": found.anomaly_map[:, 0], "score": found.pred_score}


def dsr(weights: Arrays, given: Arrays) -> Arrays:
    """As many codes as its weights have. coarse: the mask at the codes' images; seen, image: these."""
    network = anomalib.DsrModel(num_embeddings=len(weights["discrete_latent_model._vq_vae_top._embedding.weight"]))
    network, kept = filled(network, weights), {}
    hooked = {"coarse": network.anomaly_detection_module, "image": network.image_reconstruction_network}
    for name, part in hooked.items():
        part.register_forward_hook(lambda part, given, out, name=name: kept.update({name: out}))
    found = network(given["image"])
    kept["coarse"] = kept["coarse"].softmax(1)[:, 1]
    return {"map": found.anomaly_map, "seen": network.discrete_latent_model(given["image"])["recon_image"], **kept}


def ganomaly(weights: Arrays, given: Arrays) -> Arrays:
    """In training, with batch statistics. As published, the critic's features and the codes' squares are compared."""
    side, latent = given["image"].shape[-1], len(weights["generator.encoder1.final_conv_layer.weight"])
    width = len(weights["discriminator.features.0.weight"])
    network = filled(anomalib.GanomalyModel((side, side), 3, width, latent), weights).train()
    image, made, code, again = network(given["image"])
    real, features = network.discriminator(image)
    words, made_features = network.discriminator(made)
    maker = anomalib.GanomalyLoss()
    maker.loss_enc = nn.MSELoss()
    found = {"rebuilt": made, "code": code[..., 0, 0], "again": again[..., 0, 0], "features": made_features}
    found |= {"maker": maker(code, again, image, made, features, made_features), "words": words}
    return found | {"critic": 2 * anomalib.GanomalyCriticLoss()(real, words)}


MEMBERS: dict[str, Callable[[Arrays, Arrays], Arrays]] = {
    "stfpm": stfpm,
    "fastflow": fastflow,
    "cflow": cflow,
    "cs_flow": cs_flow,
    "supersimplenet": supersimplenet,
    "dinomaly": dinomaly,
    "patchcore": patchcore,
    "padim": padim,
    "dsr": dsr,
    "ganomaly": ganomaly,
}


def forward(member: str, arrays: str) -> Callable[[], Arrays]:
    """The outputs of a member. arrays: a `.npz` file of `weights/NAME` for its network, and of its inputs."""
    found = {name: torch.from_numpy(x) for name, x in np.load(arrays).items()}
    weights = {name.removeprefix("weights/"): x for name, x in found.items() if name.startswith("weights/")}
    given = {name: x for name, x in found.items() if name.removeprefix("weights/") not in weights}

    def run() -> Arrays:
        with torch.no_grad():
            return {name: x.detach() for name, x in MEMBERS[member](weights, given).items()}

    return run


if __name__ == "__main__":
    serve(forward_modules, anomalib, {"forward": forward})
