"""Jobs on a RunPod endpoint, from anywhere: submitted, followed, canceled, their outputs brought home.

with Client.runpod("ENDPOINT_ID", media_to="s3://media-in") as endpoint:
    with endpoint.submit("ltx2-lipsync@1", {"image_url": "face.png", …}) as job:
        for progress in job:
            print(progress.fraction, progress.stage)
        result = job.download("out")
"""

from runner.remote.api import Patience
from runner.remote.client import Client, RemoteJob
from runner.remote.errors import EndpointError, EndpointUnavailable, ResultExpired

__all__ = [
    "Client",
    "EndpointError",
    "EndpointUnavailable",
    "Patience",
    "RemoteJob",
    "ResultExpired",
]
