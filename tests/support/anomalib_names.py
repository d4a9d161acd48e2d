"""Our variables as the arrays of anomalib's networks, in PyTorch's layout."""

from typing import Any

import numpy as np

from jaxqc.anomaly.flow.coupling import order

Arrays = dict[str, np.ndarray]


def below(prefix: str, arrays: Arrays) -> Arrays:
    """The same with their names below `prefix`."""
    return {f"{prefix}.{name}": value for name, value in arrays.items()}


def conv(own: Any) -> Arrays:
    """A convolution's kernel [h w i o], or [i o] of 1 x 1, and its bias."""
    kernel = np.asarray(own["kernel"])
    kernel = kernel if kernel.ndim == 4 else kernel[None, None]
    return {"weight": kernel.transpose(3, 2, 0, 1)} | ({"bias": np.asarray(own["bias"])} if "bias" in own else {})


def linear(own: Any) -> Arrays:
    """A linear layer's kernel [... i o], and its bias."""
    kernel = np.asarray(own["kernel"])
    weight = {"weight": kernel.reshape(kernel.shape[-2:]).T}
    return weight | ({"bias": np.asarray(own["bias"])} if "bias" in own else {})


def batch_norm(own: Any, running: Any) -> Arrays:
    """A batch norm's parameters and statistics."""
    names = {
        "weight": own["scale"],
        "bias": own["bias"],
        "running_mean": running["mean"],
        "running_var": running["var"],
    }
    return {name: np.asarray(value) for name, value in names.items()}


def all_in_one(own: Any, index: int, cells: bool) -> Arrays:
    """A one-sided coupling. cells: its subnet is of linear layers, which see each cell alone."""
    channels, layer = len(own["scale"]), linear if cells else conv
    shape = (1, channels) if cells else (1, channels, 1, 1)
    turn = np.eye(channels, dtype=np.float32)[order(channels, index)].reshape(channels, *shape[1:])
    out = {"global_scale": np.reshape(own["scale"], shape), "global_offset": np.reshape(own["offset"], shape)}
    out |= {"w_perm": turn, "w_perm_inv": np.swapaxes(turn, 0, 1).copy()}
    return out | below("subnet.0", layer(own["net"]["conv0"])) | below("subnet.2", layer(own["net"]["conv1"]))


def cross(own: Any) -> Arrays:
    """A subnet across three scales."""
    names = {f"first{i}": f"conv_scale{i}_0" for i in range(3)} | {f"own{i}": f"conv_scale{i}_1" for i in range(3)}
    names |= {"down1": "down_conv01", "down2": "down_conv12", "up0": "up_conv10", "up1": "up_conv21"}
    out = {f"gamma{i}": np.reshape(own[f"gamma{i}"], (1,)) for i in range(3)}
    for ours, theirs in names.items():
        out |= below(theirs, conv(own[ours]))
    return out


def discriminator(variables: Any) -> Arrays:
    """SuperSimpleNet's heads; the biases before its batch norms are 0."""
    own, running = variables["params"], variables["batch_stats"]
    none = lambda name: {"bias": np.zeros(own[name]["kernel"].shape[-1], np.float32)}
    out = below("adaptor.projection", conv(own["adaptor"]))
    for name, place in (("cell", "seg_head"), ("image", "cls_conv")):
        out |= below(f"segdec.{place}.0", conv(own[name]) | none(name))
        out |= below(f"segdec.{place}.1", batch_norm(own[name]["bn"], running[name]["bn"]))
    out |= below("segdec.seg_head.3", conv({"kernel": own["cell_out"]}))
    return out | below("segdec.cls_fc", linear(own["image_out"]))


def gan_encoder(own: Any, running: Any, sequence: str = "") -> Arrays:
    """GANomaly's encoder, or with the name of a `sequence` its critic, whose layers have numbers."""
    kernel = lambda x: {"weight": np.asarray(x["kernel"]).transpose(3, 2, 0, 1)}
    width = own["down1"]["kernel"].shape[-1]
    out = below(f"{sequence}.0" if sequence else f"input_layers.initial-conv-3-{width}", kernel(own["down1"]))
    for number in range(2, sum(name.startswith("down") for name in own) + 1):
        name, before = f"down{number}", width * 2 ** (number - 2)
        conv, norm = f"pyramid-{before}-{2 * before}-conv", f"pyramid-{2 * before}-batchnorm"
        places = [
            f"{sequence}.{3 * number - 4 + i}" if sequence else f"pyramid_features.{x}"
            for i, x in enumerate((conv, norm))
        ]
        out |= below(places[0], kernel(own[name])) | below(places[1], batch_norm(own[name]["bn"], running[name]["bn"]))
    return out | (below("final_conv_layer", kernel(own["out"])) if "out" in own else {})


def gan_decoder(own: Any, running: Any) -> Arrays:
    """GANomaly's decoder."""
    kernel = np.asarray(own["spread"]["kernel"]).transpose(0, 3, 1, 2)
    latent, width = kernel.shape[:2]
    out = {f"latent_input.initial-{latent}-{width}-convt.weight": kernel}
    out |= below(f"latent_input.initial-{width}-batchnorm", batch_norm(own["spread"]["bn"], running["spread"]["bn"]))
    turned = lambda x: {"weight": np.asarray(x["kernel"]).transpose(2, 3, 0, 1)}
    for number in range(sum(name.startswith("up") for name in own), 0, -1):
        name, half = f"up{number}", width // 2
        out |= below(f"inverse_pyramid.pyramid-{width}-{half}-convt", turned(own[name]))
        norm = batch_norm(own[name]["bn"], running[name]["bn"])
        out, width = out | below(f"inverse_pyramid.pyramid-{half}-batchnorm", norm), half
    return out | below(f"final_layers.final-{width}-3-convt", turned(own["out"]))


def vit_decoder(own: Any) -> Arrays:
    """Dinomaly's bottleneck and decoder."""
    norm = lambda x: {"weight": np.asarray(x["scale"]), "bias": np.asarray(x["bias"])}
    mlp = lambda x: below("fc1", linear(x["fc1"])) | below("fc2", linear(x["fc2"]))
    out = below("bottleneck.0", mlp(own["bottleneck"]))
    for i in range(len(own) - 1):
        block = own[f"blocks_{i}"]
        parts = below("norm1", norm(block["norm1"])) | below("norm2", norm(block["norm2"]))
        parts |= below("attn.qkv", linear(block["qkv"])) | below("attn.proj", linear(block["proj"]))
        out |= below(f"decoder.{i}", parts | below("mlp", mlp(block["mlp"])))
    return out
