"""The SDK's own local API server, with a handler that reads and answers as our worker does."""

import base64
import time
from typing import Any

import runpod
from runpod_cloud import answer

SMALL = b"a small film"


async def handle(job: dict[str, Any]) -> dict[str, Any]:
    time.sleep(0.2)
    texts = {"job-film.mp4": base64.b64encode(SMALL).decode()}
    said = answer(job, {"job-film.mp4": SMALL}, "", texts)
    return {"error": said["error"]} if "error" in said else said["output"]


if __name__ == "__main__":
    runpod.serverless.start({"handler": handle})
