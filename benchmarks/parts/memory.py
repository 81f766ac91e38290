"""Peak memory above idle while one large output is stored to S3 (moto's server on loopback)."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import boto3
import requests
from workbench import ROOT, Figure, free_port

SIZES = (200, 1000)  # megabytes
LIMIT = 15.0  # megabytes


def measure(folder: Path) -> list[Figure]:
    port = free_port()
    env = {**os.environ, "AWS_ACCESS_KEY_ID": "bench", "AWS_SECRET_ACCESS_KEY": "bench",
           "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_DEFAULT_REGION": "us-east-1"}  # fmt: skip
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--port", str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(env["AWS_ENDPOINT_URL"])
        boto3.client(
            "s3", endpoint_url=env["AWS_ENDPOINT_URL"], region_name="us-east-1",
            aws_access_key_id="bench", aws_secret_access_key="bench",
        ).create_bucket(Bucket="bench")  # fmt: skip
        return [_figure(_stored(size, folder, env), size) for size in SIZES]
    finally:
        server.terminate()
        server.wait()


def _stored(megabytes: int, folder: Path, env: dict[str, str]) -> float:
    """Megabytes above idle, in a process of its own."""
    probe = ROOT / "tests" / "storage" / "memory.py"
    said = subprocess.run(
        [sys.executable, str(probe), "s3://bench/", str(megabytes), str(folder)],
        env=env, check=True, capture_output=True, text=True,
    )  # fmt: skip
    return float(json.loads(said.stdout)["peak_mb"])


def _figure(peak: float, megabytes: int) -> Figure:
    return Figure(f"memory above idle, {megabytes} MB to S3", peak, "MB",
                  target=f"under {LIMIT:g} MB", met=peak < LIMIT)  # fmt: skip


def _wait(url: str) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            requests.get(url, timeout=1)
            return
        except requests.RequestException:
            if time.monotonic() > end:
                raise
            time.sleep(0.1)
