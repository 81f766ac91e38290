"""The speakers parameter in the runner: its schema, what is refused, what is fetched and filled in."""

import io
import json
import math
import threading
import wave
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from runner import parameters
from runner.errors import InputError, InvalidParameters
from runner.inputs import Access, fetch, folder_in, net, public_values
from runner.inputs.net import Allowed, Patience
from runner.job import Job
from runner.request import Ready, check
from runner.workflow import Workflow

from media_site import HOST, SECRET, Site, film, picture, sound
from workflows import document, parameter

PNG = picture()
OWN = '[{"audio": "a.wav", "bbox": [0, 0, 0.5, 1], "mask": ""}, {"audio": "b.wav"}]'


def speakers(value: str = "[]", required: bool = False, most: int = 2, seconds: float = 1.0):
    return parameter("Speakers", 1, value, "speakers", "Who talks.", required, 1, most, seconds)


PARAMETER = parameters.read(document(speakers()))
A, B = {"audio_url": "a.wav"}, {"audio_url": "b.wav"}


def problems(rows: Any) -> dict[str, str]:
    with pytest.raises(InvalidParameters) as caught:
        parameters.validate(PARAMETER, {"speakers": rows})
    return {p.parameter: p.message for p in caught.value.problems}


# --- schema and refusals --------------------------------------------------------------------


def test_schema() -> None:
    found = parameters.schema(parameters.read(document(speakers(OWN))), name="w")
    Draft202012Validator.check_schema(found)
    own = found["properties"]["speakers"]
    assert (own["type"], own["minItems"], own["maxItems"]) == ("array", 1, 2)
    row = own["items"]
    assert row["required"] == ["audio_url"] and row["additionalProperties"] is False
    assert row["properties"]["audio_url"]["x-media"] == "audio"
    assert row["properties"]["audio_url"]["x-max-duration"] == 1.0
    assert row["properties"]["mask_url"]["x-media"] == "image"
    assert "x, y of the upper left corner" in row["properties"]["bbox"]["description"]
    assert own["default"] == [
        {"audio_url": "a.wav", "bbox": [0, 0, 0.5, 1]},
        {"audio_url": "b.wav"},
    ]
    assert not list(Draft202012Validator(own).iter_errors(own["default"]))


def test_required_and_not_given() -> None:
    (needed,) = parameters.read(document(speakers(required=True)))
    assert parameters.schema([needed], name="w")["required"] == ["speakers"]
    assert parameters.validate(PARAMETER, {}) == {"speakers": None}
    (filled,) = parameters.fill(document(speakers(OWN)), PARAMETER, {"speakers": None})["nodes"]
    assert filled["widgets_values"][0] == "[]"


@pytest.mark.parametrize(
    "rows",
    [
        [A],
        [{**A, "bbox": None, "mask_url": None}],
        [{**A, "bbox": [0, 0, 0.5, 1]}, {**B, "bbox": [0.5, 0, 0.5, 1]}],  # they touch
        [{**A, "bbox": [0, 0, 0.6, 1], "mask_url": "m.png"}, {**B, "bbox": [0.4, 0, 0.6, 1]}],
        [{**A, "bbox": [0, 0.5, 100, 20]}, {**B, "mask_url": "https://x.example/m.png"}],
    ],
)
def test_right_rows_pass(rows: Any) -> None:
    assert parameters.validate(PARAMETER, {"speakers": rows}) == {"speakers": rows}


@pytest.mark.parametrize(
    ("rows", "where", "message"),
    [
        ("a.wav", "speakers", "'a.wav' is not a list of speakers"),
        ([A, B, A], "speakers", "3 speakers; at most 2: the weights tell two people apart, no more"),
        ([], "speakers", "0 speakers; at least 1"),
        ([A, {}], "speakers[1].audio_url", "is required"),
        ([A, "b.wav"], "speakers[1]",
         "'b.wav' is not an object with audio_url, bbox, mask_url"),
        ([A, {"audio_url": ""}], "speakers[1].audio_url", "is empty; a URL is needed"),
        ([{"audio_url": 7}], "speakers[0].audio_url", "7 is not the URL of a sound"),
        ([{**A, "mask_url": 7}], "speakers[0].mask_url", "7 is not the URL of an image"),
        ([{**A, "audio": "b"}], "speakers[0].audio",
         "is no key of a speaker; did you mean audio_url?"),
        ([{**A, "image_url": "b"}], "speakers[0].image_url", "is no key of a speaker; did you mean"),
        ([{**A, "bbox": [1, 2, 3]}], "speakers[0].bbox",
         "[1, 2, 3] is not x, y, width, height: four numbers of 0 or more"),
        ([{**A, "bbox": [1, 2, 3, 4, 5]}], "speakers[0].bbox", "[1, 2, 3, 4, 5] is not x, y, width"),
        ([A, {**B, "bbox": [1, 2, -3, 4]}], "speakers[1].bbox", "[1, 2, -3, 4] is not x, y, width"),
        ([{**A, "bbox": [1, 2, "3", 4]}], "speakers[0].bbox", "[1, 2, '3', 4] is not x, y, width"),
        ([{**A, "bbox": [1, 2, math.nan, 4]}], "speakers[0].bbox", "[1, 2, nan, 4] is not x, y"),
        ([{**A, "bbox": [0, 0, 0, 1]}], "speakers[0].bbox", "[0, 0, 0, 1] has no area; width and height"),
        ([{**A, "bbox": [9, 9, 5, 0]}], "speakers[0].bbox", "[9, 9, 5, 0] has no area"),
        ([{**A, "bbox": [0.6, 0, 0.5, 1]}], "speakers[0].bbox", "[0.6, 0, 0.5, 1] leaves the picture: x + width is 1.1"),
        ([{**A, "bbox": [0, 0, 0.6, 1]}, {**B, "bbox": [0.4, 0, 0.6, 1]}], "speakers[1].bbox",
         "[0.4, 0, 0.6, 1] overlaps speakers[0].bbox ([0, 0, 0.6, 1])"),
        ([{**A, "bbox": {"x": 1}}], "speakers[0].bbox", "{'x': 1} is not x, y, width, height"),
    ],
)  # fmt: skip
def test_a_wrong_row_is_named(rows: Any, where: str, message: str) -> None:
    found = problems(rows)
    assert list(found) == [where]
    assert found[where].startswith(message)


def test_every_problem_is_told_at_once() -> None:
    rows = [{"audio_url": 1, "bbox": [1]}, {"bbox": 2, "mask_url": ""}, 3]
    assert set(problems(rows)) == {
        "speakers", "speakers[0].audio_url", "speakers[0].bbox", "speakers[1].audio_url",
        "speakers[1].bbox", "speakers[1].mask_url", "speakers[2]",
    }  # fmt: skip


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.sampled_from(["audio_url", "bbox", "mask_url", "x"]), inner)
    ),
    max_leaves=12,
)


@given(ANYTHING)
def test_any_list_is_either_valid_or_invalid_parameters(rows: Any) -> None:
    try:
        parameters.validate(PARAMETER, {"speakers": rows})
    except InvalidParameters as error:
        assert all(problem.parameter.startswith("speakers") for problem in error.problems)


def test_the_command_line_writes_json() -> None:
    typed = parameters.from_text(PARAMETER, {"speakers": '[{"audio_url": "a.wav"}]'})
    assert typed == {"speakers": [A]}
    assert parameters.from_text(PARAMETER, {"speakers": "a.wav"}) == {"speakers": "a.wav"}


def test_rows_are_filled_in_by_the_nodes_names() -> None:
    rows = [{**A, "bbox": [1, 2, 3, 4], "mask_url": "m.png"}, B]
    (filled,) = parameters.fill(document(speakers()), PARAMETER, {"speakers": rows})["nodes"]
    assert json.loads(filled["widgets_values"][0]) == [
        {"audio": "a.wav", "bbox": [1, 2, 3, 4], "mask": "m.png"},
        {"audio": "b.wav"},
    ]


# --- files ----------------------------------------------------------------------------------


@pytest.fixture
def site() -> Iterator[Site]:
    before = threading.active_count()
    with Site() as running:
        yield running
    assert threading.active_count() <= before + 1


def resolve(host: str, port: int) -> Sequence[str]:
    return ["127.0.0.1"] if host == HOST else net.resolve(host, port)


def access(**options: Any) -> Access:
    patience = Patience(connect=1, read=0.4, total=3, tries=2, backoff=0.02)
    return Access(hosts=Allowed.of([HOST]), patience=patience, resolve=resolve, **options)


def asked(folder: Path, value: str = "[]", **params: Any) -> Ready:
    folder.mkdir(exist_ok=True)
    found = Workflow(document(speakers(value)), folder / "1.0.0.json", "w", "1.0.0")
    return check(Job("job", "w", params), found)


def refused(ready: Ready, root: Path, **options: Any) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught, folder_in(root) as folder:
        fetch(ready, folder, root=root, access=access(**options))
    return [(p["parameter"], p["message"]) for p in caught.value.details["problems"]]


def test_sounds_and_masks_are_fetched(tmp_path: Path, site: Site) -> None:
    voice, mask = site.put("/voice", sound()), site.put("/mask", PNG)
    rows = [{"audio_url": voice, "mask_url": mask, "bbox": [0, 0, 9, 9]}, {"audio_url": voice}]
    ready, root = asked(tmp_path / "w", speakers=rows), tmp_path / "input"
    with folder_in(root) as folder:
        done = fetch(ready, folder, root=root, access=access())
        name = folder.relative_to(root).as_posix()
        (node,) = done.document["nodes"]
        assert json.loads(node["widgets_values"][0]) == [
            {"audio": f"{name}/0.wav", "mask": f"{name}/1.png", "bbox": [0, 0, 9, 9]},
            {"audio": f"{name}/0.wav"},
        ]
        assert (root / name / "1.png").read_bytes() == PNG
    assert site.seen == {"/voice": 1, "/mask": 1}
    shown = public_values(ready)
    assert SECRET not in json.dumps(shown)
    assert shown["speakers"] == [
        {"audio_url": f"http://{HOST}:{site.port}/voice", "bbox": [0, 0, 9, 9],
         "mask_url": f"http://{HOST}:{site.port}/mask"},
        {"audio_url": f"http://{HOST}:{site.port}/voice"},
    ]  # fmt: skip


def test_every_wrong_file_is_named_by_row_and_key(tmp_path: Path, site: Site) -> None:
    rows = [
        {"audio_url": site.put("/long", sound(2)), "mask_url": site.put("/voice", sound())},
        {"audio_url": site.put("/picture", PNG)},
    ]
    found = dict(refused(asked(tmp_path / "w", speakers=rows), tmp_path / "input"))
    assert list(found) == ["speakers[0].audio_url", "speakers[0].mask_url", "speakers[1].audio_url"]
    assert "lasts 2.00 s; at most 1 s are taken" in found["speakers[0].audio_url"]
    assert "is a sound file (WAV), not an image" in found["speakers[0].mask_url"]
    assert "is an image (PNG), not a sound file" in found["speakers[1].audio_url"]


def mp3() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp3") as out:
        stream = out.add_stream("libmp3lame", rate=44100, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 22050), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return file.getvalue()


def test_local_files_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 bits at 8 kHz, an MP3 that calls itself WAV, a film: by their relative paths."""
    with wave.open(str(tmp_path / "old.wav"), "wb") as file:
        file.setparams((1, 1, 8000, 0, "NONE", ""))
        file.writeframes(b"\x80\x90" * 2000)
    (tmp_path / "liar.wav").write_bytes(mp3())
    (tmp_path / "film.mp4").write_bytes(film(silent=False))
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "input"
    suffixes = []
    for names in (["old.wav", "liar.wav"], ["film.mp4"]):
        ready = asked(tmp_path / "w", speakers=[{"audio_url": name} for name in names])
        with folder_in(root) as folder:
            done = fetch(ready, folder, root=root, access=access(local=True))
            rows = done.values["speakers"]
            assert all((root / row["audio_url"]).is_file() for row in rows)
            suffixes += [Path(row["audio_url"]).suffix for row in rows]
    assert suffixes == [".wav", ".mp3", ".mp4"]


def test_the_workflows_own_speakers_lie_beside_it(tmp_path: Path) -> None:
    root = tmp_path / "input"
    (where, message), _ = refused(asked(tmp_path / "w", OWN), root)
    assert where == "speakers[0].audio_url" and "own file is not here" in message
    for name in ("a.wav", "b.wav"):
        (tmp_path / "w" / name).write_bytes(sound())
    with folder_in(root) as folder:
        done = fetch(asked(tmp_path / "w", OWN), folder, root=root, access=access())
        assert done.values["speakers"][0]["bbox"] == [0, 0, 0.5, 1]
        assert (root / done.values["speakers"][1]["audio_url"]).is_file()
