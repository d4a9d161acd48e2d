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
