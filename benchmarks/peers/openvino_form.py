"""The PyTorch form of a network as an OpenVINO file, with jaxqc's weights; run under the peer's interpreter.

python -m benchmarks.peers.openvino_form minet weights.npz 16 224 minet.xml
"""

import sys
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.peers.convert import convert, peer
from benchmarks.peers.torch_minet import fold, set_mixing


class MapAlone(nn.Module):
    """A network's map, x [n 3 h w] → [n h w]."""

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)["map"]


def main() -> None:
    import openvino

    name, weights, batch, side, out = sys.argv[1:]
    variables: dict[str, Any] = {}
    for path, value in np.load(weights).items():
        *above, last = path.split("/")
        inner = variables
        for step in above:
            inner = inner.setdefault(step, {})
        inner[last] = value
    network = set_mixing(fold(convert(variables, peer(name))), "sum")  # twice as fast there as "grouped"
    shape = [int(batch), 3, int(side), int(side)]
    with torch.no_grad():
        form = openvino.convert_model(MapAlone(network).eval(), example_input=torch.zeros(shape), input=shape)
    openvino.save_model(form, out, compress_to_fp16=False)


if __name__ == "__main__":
    main()
