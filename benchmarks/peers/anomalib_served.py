"""anomalib's TorchInferencer behind FastAPI, as its users put it there: image in, score and label out.

    PYTHON -m benchmarks.peers.anomalib_served --port 8002 --side 256

STFPM on layers 1 and 2 of ResNet-18 with random weights, exported by anomalib and read back by its inferencer. One
image at a time in FastAPI's threads; the model's own post-processing. It keeps nothing: no ledger, picture or defects.
"""

import argparse
import io
import os
import tempfile
import threading
from typing import Any

import numpy as np
import torch
import uvicorn
from fastapi import Body, FastAPI
from PIL import Image


def inferencer(side: int) -> Any:
    """The exported model, read back."""
    # A torchvision for CUDA lacks its operators beside a torch without; their names alone let it be imported.
    for name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import timm

    make = timm.create_model
    timm.create_model = lambda *args, **more: make(*args, **{**more, "pretrained": False})  # no download
    from anomalib.deploy import TorchInferencer
    from anomalib.models import Stfpm

    model = Stfpm(layers=("layer1", "layer2"), pre_processor=Stfpm.configure_pre_processor((side, side)),
                  evaluator=False, visualizer=False)  # fmt: skip
    os.environ["TRUST_REMOTE_CODE"] = "1"  # of the file that is written here
    with tempfile.TemporaryDirectory() as folder:
        return TorchInferencer(model.to_torch(folder), device="cpu")


def application(side: int) -> FastAPI:
    app, found, turn = FastAPI(), inferencer(side), threading.Lock()

    @app.get("/health")
    def health() -> dict[str, bool]:
        return {"ready": True}

    @app.post("/predict")
    def predict(data: bytes = Body(media_type="image/png")) -> dict[str, Any]:
        image = np.array(Image.open(io.BytesIO(data)).convert("RGB"))
        with turn, torch.inference_mode():  # its threads compute one image; two at once are slower
            answer = found.predict(image)
        return {"score": float(answer.pred_score.max()), "pixels": int((answer.anomaly_map > 0.5).sum())}

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    uvicorn.run(application(args.side), host="127.0.0.1", port=args.port, log_level="error")
