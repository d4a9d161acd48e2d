"""The peer's random weights of detectors of images as ours, so that both sides' maps can be compared."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from benchmarks.lib.learned_candidates import Ours
from jaxqc.anomaly.detectors.dsr import DualNetworks
from jaxqc.models.arrays import FIELDS

Arrays = Mapping[str, np.ndarray]
DRAEM = {
    "rebuild": ("reconstructive_subnetwork.encoder", "reconstructive_subnetwork.decoder"),
    "find": ("discriminative_subnetwork.encoder_segment", "discriminative_subnetwork.decoder_segment"),
}
VQ_VAE = {"fine1": "_encoder_b._conv_1", "fine2": "_encoder_b._conv_2", "fine3": "_encoder_b._conv_3",
          "coarse1": "_encoder_t._conv_1", "coarse2": "_encoder_t._conv_2", "decode1": "_decoder_b._conv_1",
          "into_hi": "_pre_vq_conv_bot", "into_lo": "_pre_vq_conv_top", "up_lo": "upsample_t",
          "decode2": "_decoder_b._conv_trans_1", "decode3": "_decoder_b._conv_trans_2", "fine": "_encoder_b",
          "coarse": "_encoder_t", "decode": "_decoder_b"}  # fmt: skip
DECODER = {"middle": "pre_vq_conv", "conv": "_conv_1", "up1": "upblock1", "up2": "upblock2", "up3": "_conv_trans_1",
           "out": "_conv_trans_2"}  # fmt: skip
RESIDUAL = {"wide": 1, "back": 3}
TURNED = ("up_lo", "decode2", "decode3", "up1", "up2", "up3", "out")
"""Those of DSR's layers outside of its networks of levels that are transposed convolutions."""


def draem_name(path: tuple[str, ...]) -> str:
    """The name in anomalib's DRAEM of a variable of ours.

    Examples:
      >>> draem_name(("params", "find", "decode5_0", "kernel"))
      'discriminative_subnetwork.decoder_segment.up_b.1.weight'
      >>> draem_name(("batch_stats", "rebuild", "encode2_2", "bn", "mean"))
      'reconstructive_subnetwork.encoder.block2.4.running_mean'
    """
    _, network, layer, *inner, leaf = path
    (encoder, decoder), norm = DRAEM[network], int("bn" in inner)
    if layer == "out":
        return f"{decoder}.fin_out.0.{FIELDS[leaf]}"
    level, number = int(layer[6]), int(layer[-1])
    if layer.startswith("encode"):
        return f"{encoder}.block{level}.{3 * (number - 1) + norm}.{FIELDS[leaf]}"
    unit = "b" if level == 5 else str(5 - level)
    place = f"up_{unit}" if unit == "b" else f"up{unit}"
    place = place if number == 0 else place.replace("up", "db")
    return f"{decoder}.{place}.{1 + norm if number == 0 else 3 * (number - 1) + norm}.{FIELDS[leaf]}"


def autoencoder_name(path: tuple[str, ...]) -> str:
    """The name in the peer's autoencoder of a variable of ours.

    Examples:
      >>> [autoencoder_name(("params", "rebuild", *name)) for name in (("decode3", "bias"), ("code_kernel",))]
      ['decode.2.bias', 'code.weight']
    """
    *_, layer, leaf = path
    if leaf[:4] in ("code", "back"):
        return f"{leaf[:4]}.{FIELDS[leaf[5:]]}"
    return f"{layer[:6]}.{int(layer[6:]) - 1}.{FIELDS[leaf]}"


def dsr_name(path: tuple[str, ...]) -> str:
    """The name in anomalib's DSR of a number in the state of ours.

    Examples:
      >>> dsr_name(("restore", "find", "both3", "conv2", "kernel"))
      'anomaly_detection_module.unet.decoder.db1.3.weight'
      >>> dsr_name(("codebook", "params", "fine", "wide2", "kernel"))
      'discrete_latent_model._encoder_b._residual_stack._layers.1._block.1.weight'
    """
    first, *rest = path
    if first == "codebook":
        if rest[0] == "codes":
            return f"discrete_latent_model._vq_vae_{'top' if rest[1] == 'lo' else 'bot'}._embedding.weight"
        return f"discrete_latent_model.{_stacked(VQ_VAE[rest[1]], rest[2:])}"
    if first == "upsample":
        return f"upsampling_module.unet.{_leveled(rest, 4)}"
    if rest[0] == "find":
        return f"anomaly_detection_module.unet.{_leveled(rest[1:], 4)}"
    if rest[0] in ("lo", "hi"):
        return f"subspace_restriction_module_{rest[0]}.unet.{_leveled(rest[1:], 3)}"
    before, layer = "image_reconstruction_network", rest[1]
    if layer.startswith("down"):
        return f"{before}.block{layer[-1]}.{3 * int(rest[2][-1]) - 3}.{FIELDS[rest[-1]]}"
    return f"{before}.{_stacked(DECODER.get(layer, ''), rest[2:])}".replace("..", ".")


def _stacked(place: str, rest: list[str]) -> str:
    """The name of a layer, or of one in a stack of residual ones."""
    if len(rest) == 1:
        return f"{place}.{FIELDS[rest[0]]}"
    kind, number = rest[0][:-1], int(rest[0][-1])
    return f"{place}._residual_stack._layers.{number - 1}._block.{RESIDUAL[kind]}.{FIELDS[rest[-1]]}"


def _leveled(rest: list[str], levels: int) -> str:
    """The name in a network of so many levels. With three, its units of enlarging follow one another in one place."""
    layer, *inner, leaf = rest
    if layer == "out":
        return f"decoder.fin_out.0.{FIELDS[leaf]}"
    number, level = int(inner[0][-1]), int(layer[-1])
    if layer.startswith("down"):
        return f"encoder.block{level}.{3 * (number - 1)}.{FIELDS[leaf]}"
    place = 4 - level
    if layer.startswith("both"):
        return f"decoder.db{place}.{3 * (number - 1)}.{FIELDS[leaf]}"
    if number == 1:
        return f"decoder.up{place}.1.{FIELDS[leaf]}"
    return f"decoder.db{place}.{3 * (number - 2)}.{FIELDS[leaf]}"


NAMES = {"draem": draem_name, "conv_ae": autoencoder_name, "dsr": dsr_name}


def turned(value: np.ndarray, shape: tuple[int, ...], transposed: bool) -> np.ndarray:
    """An array of PyTorch's in our layout: kernels [h w in out]; its transposed ones have their inputs first.

    Raises:
      ValueError: it does not fit the shape.
    """
    if value.ndim == 4:
        value = value.transpose((2, 3, 0, 1) if transposed else (2, 3, 1, 0))
        value = value[0, 0] if len(shape) == 2 else value
    if value.shape != shape:
        raise ValueError(f"{value.shape} where {shape} is needed")
    return np.ascontiguousarray(value)


def shared_state(ours: Ours, arrays: Arrays) -> Any:
    """The state that scores with the peer's weights.

    Raises:
      KeyError, ValueError: an array lacks, or has another shape.
    """
    if ours.member.detector == "dsr":  # three trainings make it
        return with_weights("dsr", ours.state, arrays)
    return ours.detector.trained(with_weights(ours.member.detector, ours.variables, arrays))


def with_weights(member: str, tree: Any, arrays: Arrays) -> Any:
    """Our variables of a member, or DSR's state, with the peer's numbers.

    Raises:
      KeyError, ValueError: an array lacks, or has another shape.
    """
    shapes = tree._asdict() if isinstance(tree, DualNetworks) else tree

    def fill(path: Any, leaf: Any) -> np.ndarray:
        steps = tuple(step.key for step in path)
        name = NAMES[member](steps)
        value = turned(arrays[name], np.shape(leaf), _transposed(member, steps, np.shape(leaf)))
        if steps[-1] == "mean":  # its convolutions have a bias in front of the norm
            place, _, number = name.removesuffix(".running_mean").rpartition(".")
            value = value - arrays[f"{place}.{int(number) - 1}.bias"]
        return value

    filled = jax.tree_util.tree_map_with_path(fill, shapes)
    return DualNetworks(**filled) if isinstance(tree, DualNetworks) else filled


def _transposed(member: str, path: tuple[str, ...], shape: tuple[int, ...]) -> bool:
    """True of a transposed convolution's kernel."""
    layer = path[-2]
    if member == "conv_ae":
        return layer.startswith("decode") and shape[0] == 4
    leveled = path[0] == "upsample" or (path[0] == "restore" and path[1] != "decode")
    return member == "dsr" and not leveled and layer in TURNED
