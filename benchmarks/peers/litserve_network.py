"""LitServe 0.2 with a network's PyTorch form behind it: image in, score and marked pixels out.

    PYTHON -m benchmarks.peers.litserve_network minet weights.npz --port 8001 --batch 16

Its own way in: JSON with the file in base64, micro-batches of at most `--batch` within 5 ms. The network is folded and
channels last. It keeps nothing: no ledger, no picture, no defects.
"""

import argparse
import base64
import io
from typing import Any

import litserve as ls
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.peers.convert import convert, peer
from benchmarks.peers.torch_minet import fold, set_mixing

MEAN, STD, THRESHOLD = 0.5, 0.25, 0.5


class Network(ls.LitAPI):
    """The network's calls, in LitServe's names."""

    def __init__(self, name: str, weights: str, side: int, threads: int, **settings: Any) -> None:
        super().__init__(**settings)
        self.name, self.weights, self.side, self.threads = name, weights, side, threads

    def setup(self, device: str) -> None:
        torch.set_num_threads(self.threads)
        with np.load(self.weights) as file:
            flat = {name: file[name] for name in file.files}
        self.network = set_mixing(fold(convert(nested(flat), peer(self.name))), "grouped").to(
            memory_format=torch.channels_last
        )

    def decode_request(self, request) -> Tensor:  # LitServe takes an annotation for the form of the request
        image = Image.open(io.BytesIO(base64.b64decode(request["image"]))).convert("RGB")
        pixels = torch.from_numpy(np.array(image.resize((self.side, self.side), Image.Resampling.BILINEAR)))
        return (pixels.permute(2, 0, 1).float() / 255 - MEAN) / STD

    def batch(self, inputs: list[Tensor]) -> Tensor:
        return torch.stack(inputs).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def predict(self, x: Tensor) -> Tensor:
        return self.network(x)["map"]

    def unbatch(self, output: Tensor) -> list[Tensor]:
        return list(output)

    def encode_response(self, output):
        return {"score": float(output.max()), "pixels": int((output > THRESHOLD).sum())}


def nested(flat: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by path as a tree."""
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        *path, last = name.split("/")
        here = tree
        for part in path:
            here = here.setdefault(part, {})
        here[last] = value
    return tree


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("network")
    parser.add_argument("weights")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    api = Network(args.network, args.weights, args.side, args.threads, max_batch_size=args.batch, batch_timeout=0.005)
    server = ls.LitServer(api, accelerator="cpu", timeout=120)
    server.run(host="127.0.0.1", port=args.port, generate_client_file=False, log_level="error")
