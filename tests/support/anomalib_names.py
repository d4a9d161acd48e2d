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


def transposed(own: Any) -> Arrays:
    """A transposed convolution's kernel [4 4 i o], and its bias."""
    return {"weight": np.asarray(own["kernel"]).transpose(2, 3, 0, 1), "bias": np.asarray(own["bias"])}


def residuals(own: Any) -> Arrays:
    """A stack of a VQ-VAE's residual layers."""
    out = {}
    for i in range(len(own) // 2):
        out |= below(f"_layers.{i}._block.1", conv(own[f"wide{i + 1}"]))
        out |= below(f"_layers.{i}._block.3", conv(own[f"back{i + 1}"]))
    return out


def vq_vae(own: Any, code: Any) -> Arrays:
    """The autoencoder through codes, and these."""
    convs = {"fine1": "_encoder_b._conv_1", "fine2": "_encoder_b._conv_2", "fine3": "_encoder_b._conv_3"}
    convs |= {"coarse1": "_encoder_t._conv_1", "coarse2": "_encoder_t._conv_2", "decode1": "_decoder_b._conv_1"}
    convs |= {"into_hi": "_pre_vq_conv_bot", "into_lo": "_pre_vq_conv_top"}
    stacks = {"fine": "_encoder_b", "coarse": "_encoder_t", "decode": "_decoder_b"}
    ups = {"up_lo": "upsample_t", "decode2": "_decoder_b._conv_trans_1", "decode3": "_decoder_b._conv_trans_2"}
    out = {f"_vq_vae_{place}._embedding.weight": code[name] for name, place in (("lo", "top"), ("hi", "bot"))}
    for ours, theirs in convs.items():
        out |= below(theirs, conv(own[ours]))
    for ours, theirs in stacks.items():
        out |= below(f"{theirs}._residual_stack", residuals(own[ours]))
    for ours, theirs in ups.items():
        out |= below(theirs, transposed(own[ours]))
    return out


def levels(own: Any, decoder: dict[int, tuple[str, str]]) -> Arrays:
    """A network of levels: `down1`, `down2`, ... and the way up. decoder: level → its units after enlarging, and on."""
    out = below("decoder.fin_out.0", conv(own["out"]))
    for level in range(1, sum(name.startswith("down") for name in own) + 1):
        for i, place in ((1, 0), (2, 3)):
            out |= below(f"encoder.block{level}.{place}", conv(own[f"down{level}"][f"conv{i}"]))
    for level, (up, both) in decoder.items():
        units = [own[f"up{level}"][name] for name in sorted(own[f"up{level}"])]
        units += [own[f"both{level}"][name] for name in sorted(own.get(f"both{level}", {}))]
        for place, unit in zip((f"{up}.1", f"{both}.0", f"{both}.3"), units, strict=True):
            out |= below(f"decoder.{place}", conv(unit))
    return out


def dsr(codebook: Any, restore: Any, upsample: Any) -> Arrays:
    """All networks of DSR."""
    out = below("discrete_latent_model", vq_vae(codebook["params"], codebook["codes"]))
    subspace = {2: ("up2", "db2"), 1: ("up3", "db3")}
    for name in ("lo", "hi"):
        out |= below(f"subspace_restriction_module_{name}.unet", levels(restore[name], subspace))
    mask = {3: ("up1", "db1"), 2: ("up2", "db2"), 1: ("up3", "db3")}
    out |= below("anomaly_detection_module.unet", levels(restore["find"], mask))
    out |= below("upsampling_module.unet", levels(upsample, mask))
    own, parts = restore["decode"], {}
    for block in (1, 2):
        for i, place in ((1, 0), (2, 3)):
            parts |= below(f"block{block}.{place}", conv(own[f"down{block}"][f"conv{i}"]))
    parts |= below("pre_vq_conv", conv(own["middle"])) | below("_conv_1", conv(own["conv"]))
    parts |= below("_residual_stack", residuals(own["residuals"]))
    for ours, theirs in {"up1": "upblock1", "up2": "upblock2", "up3": "_conv_trans_1", "out": "_conv_trans_2"}.items():
        parts |= below(theirs, transposed(own[ours]))
    return out | below("image_reconstruction_network", parts)
