"""The GPU does not wait: downloads and uploads happen while other jobs render."""

import json
import os
from itertools import pairwise
from pathlib import Path

from cloud import Cloud
from workers import Start

JOBS = 20
SERIAL = JOBS * 4.0  # seconds: 1 s download, 2 s render, 1 s upload


def test_twenty_jobs(cloud: Cloud, start: Start, site: str, pytestconfig) -> None:
    machine = start(**cloud.environment, TEST_UPLOAD="1")
    for number in range(JOBS):
        params = {"image_url": f"{site}/slow.png?{number}", "seconds": 2.0}
        cloud.send(f"job-{number}", {"workflow": "act@1", "params": params})
    cloud.wait(lambda c: len(c.answers) == JOBS, 200)
    quiet = os.getloadavg()[0] < (os.cpu_count() or 1)
    took = max(cloud.answered.values()) - min(cloud.taken.values())
    busy = machine.busy()
    idle = (busy[-1][1] - busy[0][0]) - sum(end - begin for begin, end in busy)
    figures = {"jobs": JOBS, "quiet": quiet, "seconds": round(took, 2), "serial": SERIAL,
               "gpu_idle": round(idle, 2), "gpu_idle_per_job": round(idle / (JOBS - 1), 3)}  # fmt: skip
    folder = Path(pytestconfig.rootpath) / "out"
    folder.mkdir(exist_ok=True)
    (folder / "pipeline.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(figures)
    assert all("error" not in answer for answer in cloud.answers.values()), cloud.answers
    assert len(busy) == JOBS
    assert all(before[1] <= after[0] for before, after in pairwise(busy))
    for place, (job_id, answer) in enumerate(cloud.answers.items()):
        assert abs(place - int(job_id.removeprefix("job-"))) < 3, (
            "jobs overtake others at most once"
        )
        artifact = answer["output"]["artifacts"][0]
        assert Path(artifact["location"]).name.startswith(f"{job_id}-"), "each has its own output"
    assert cloud.late == []
    # Each job alone has two seconds of download and upload; hidden, they leave less than one.
    # How close it comes to the ideal 42 s is for `make bench`: other work on this machine counts.
    assert took < JOBS * 3.0, figures
