"""wan-t2v as a designer runs it in the real editor."""

import json

import pytest

from runner import parameters
from runner import workflow as workflows
from runner.settings import Settings
from runner.workflow import Workflow

from editor import Editor


@pytest.fixture
def wan(settings: Settings) -> Workflow:
    return workflows.find("wan-t2v@1.0.0", settings.workflows)


def test_it_runs_in_the_editor_on_stand_in_weights(editor: Editor, wan: Workflow) -> None:
    small = parameters.fill(
        wan.document,
        parameters.read(wan.document),
        {**parameters.validate(parameters.read(wan.document), {"prompt": "a red kite"}),
         "width": 128, "height": 96, "num_frames": 17, "steps": 4},
    )  # fmt: skip
    editor.load(json.loads(json.dumps(small)))
    editor.page.evaluate("() => app.queuePrompt(0)")
    editor.page.wait_for_function(
        """async () => {
          const jobs = await (await fetch("/api/jobs")).json();
          return jobs.jobs.length && jobs.jobs.every((job) => job.status === "completed");
        }""",
        timeout=120_000,
    )
    editor.page.locator("video").first.wait_for(timeout=20_000)
