"""Sends images to `jaxqc serve` and prints what it finds; the lots' grades at the end.

python examples/serve_client.py http://127.0.0.1:8000 L-17 plates/*.png
"""

import argparse
import os
import time
from pathlib import Path

import httpx

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("server")
parser.add_argument("lot")
parser.add_argument("images", nargs="+", type=Path)
args = parser.parse_args()

token = os.environ.get("JAXQC_TOKEN")
headers = {"Authorization": f"Bearer {token}"} if token else {}
with httpx.Client(base_url=args.server, headers=headers, timeout=60) as client:
    for image in args.images:
        said = {"lot": args.lot, "image": image.name}
        body = {"content": image.read_bytes(), "headers": {"Content-Type": "application/octet-stream"}}
        while (answer := client.post("/v1/inspect", params=said, **body)).status_code == 503:
            time.sleep(int(answer.headers["Retry-After"]))  # full, or still starting
        if answer.is_error:
            print(f"{image}: {answer.json()['error']}")
            continue
        finding = answer.json()["finding"]
        classes = ", ".join(f"{count} {name}" for name, count in finding["composition"].items())
        print(f"{image}: {finding['verdict']}, severity {finding['severity']:.2f} {classes}".rstrip())
    lot = client.get(f"/v1/lots/{args.lot}").raise_for_status().json()["figures"]
    print(f"lot {lot['lot']}: grade {lot['grade']}, risk {lot['risk']}, {lot['rejected']} of {lot['pieces']} rejected")
