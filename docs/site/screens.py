"""The pictures of the editor in docs/pictures: `make pictures`. Needs Chromium, as the browser tests do."""

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from runner import settings, workflow
from runner.entrypoints import editor as editors
from runner.entrypoints import example

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
HELP = ROOT / "custom_nodes" / "callsheet" / "web" / "docs"
MOST = 300_000  # bytes of a picture

sys.path.insert(0, str(ROOT / "tests" / "browser"))
from conftest import CHROMIUM_ARGS  # noqa: E402

from editor import Editor  # noqa: E402

DRAW = {"width": 384, "height": 256, "quality_preset": "fast", "seed": 7, "fps": 24}


def save(target: Path, shot: bytes) -> None:
    """As a PNG of few colours: screens have few."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        file.write(shot)
        file.flush()
        with Image.open(file.name) as picture:
            # k-means: the plain cut gives a small sun its sky's colour.
            flat = picture.convert("RGB").quantize(256, kmeans=1, dither=Image.Dither.NONE)
    flat.save(target, optimize=True)
    size = target.stat().st_size
    print(f"{target.relative_to(ROOT)}  {size // 1000} kB")
    if size > MOST:
        raise SystemExit(f"{target.name} has {size:,} bytes; at most {MOST:,}: make it smaller")


class Camera:
    """Takes what is asked for of an open editor."""

    def __init__(self, editor: Editor) -> None:
        self.editor, self.page = editor, editor.page

    def command(self, name: str, *, pause: int = 1500) -> None:
        self.page.evaluate("(name) => app.extensionManager.command.execute(name)", name)
        self.page.wait_for_timeout(pause)

    def size(self, width: int, height: int) -> None:
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_timeout(300)

    def quiet(self) -> None:
        """Away with what passes: toasts, the mouse's hovering, workflows that were open before."""
        size = self.page.viewport_size
        assert size
        self.page.mouse.move(6, size["height"] - 4)
        self.page.evaluate(
            """async () => {
              app.extensionManager.toast.removeAll();
              const { workflow } = app.extensionManager;
              for (const one of [...workflow.openWorkflows])
                if (one !== workflow.activeWorkflow) await workflow.closeWorkflow(one);
            }"""
        )
        self.page.wait_for_timeout(600)

    def take(self, name: str) -> None:
        self.quiet()
        save(PICTURES / f"{name}.png", self.page.screenshot())

    def fit(self) -> None:
        """The whole graph, beside the sidebar and below the bars."""
        self.page.evaluate(
            """() => {
              const boxes = app.rootGraph.groups.map((group) => [...group._bounding]);
              const left = Math.min(...boxes.map(([x]) => x)), top = Math.min(...boxes.map(([, y]) => y));
              const right = Math.max(...boxes.map(([x, , w]) => x + w));
              const bottom = Math.max(...boxes.map(([, y, , h]) => y + h));
              const { ds } = app.canvas;
              const [width, height] = [innerWidth - 100, innerHeight - 150];
              ds.scale = Math.min(width / (right - left), height / (bottom - top));
              ds.offset = [80 / ds.scale - left, 105 / ds.scale - top];
              app.canvas.setDirty(true, true);
            }"""
        )
        self.page.wait_for_timeout(1200)

    def look_at(self, title: str, *, scale: float = 1, right: float = 0, down: float = 0) -> None:
        """That node in the middle, or so many pixels off it."""
        self.page.evaluate(
            """([title, scale, right, down]) => {
              const node = app.rootGraph.nodes.find((one) => one.title === title);
              const { ds } = app.canvas;
              ds.scale = scale;
              app.canvas.centerOnNode(node);
              ds.offset[0] += right / scale;
              ds.offset[1] += down / scale;
              app.canvas.setDirty(true, true);
            }""",
            [title, scale, right, down],
        )
        self.page.wait_for_timeout(900)

    def node(self, target: Path, node: int) -> None:
        """One node alone, with a little room around it."""
        self.editor.page.evaluate(
            """(id) => {
              app.canvas.deselectAll();
              app.canvas.ds.scale = 1;
              app.canvas.centerOnNode(app.rootGraph.getNodeById(id));
              app.canvas.setDirty(true, true);
            }""",
            node,
        )
        self.quiet()
        box = self.page.locator(f"[data-node-id='{node}']").bounding_box()
        assert box
        room = 14
        clip = {"x": box["x"] - room, "y": box["y"] - room,
                "width": box["width"] + 2 * room, "height": box["height"] + 2 * room}  # fmt: skip
        save(target, self.page.screenshot(clip=clip))  # type: ignore[arg-type]


def graph(camera: Camera) -> None:
    camera.size(2300, 960)
    camera.editor.open_template("wan-t2v")
    camera.fit()
    camera.take("wan-t2v-graph")


def templates(camera: Camera) -> None:
    camera.size(1400, 900)
    camera.command("Comfy.BrowseTemplates", pause=3000)
    camera.page.get_by_role("button", name="Callsheet").first.click()
    camera.page.wait_for_timeout(2500)
    camera.take("editor-templates")
    camera.page.keyboard.press("Escape")
    camera.page.wait_for_timeout(500)


def keyframes(camera: Camera) -> None:
    rows = [
        {"image": "sunrise.png", "position": "first"},
        {"image": "noon.png", "position": 0.5},
        {"image": "night.png", "position": "last", "strength": 0.9},
    ]
    camera.size(1300, 800)
    camera.editor.open_template("ltx2-keyframes-lipsync")
    camera.editor.set(**DRAW, keyframes=json.dumps(rows), audio_url="speech.wav")
    camera.look_at("Keyframes", scale=1.1, right=-290, down=30)
    camera.take("editor-keyframes")


def app_view(camera: Camera) -> None:
    """The same workflow, run, so that its video is there."""
    camera.size(1400, 900)
    camera.editor.run()
    camera.command("Comfy.ToggleLinear", pause=4000)
    camera.take("editor-app-view")
    camera.command("Comfy.ToggleLinear")


def check(camera: Camera) -> None:
    camera.size(1400, 760)
    camera.editor.open_template("wan-t2v")
    camera.page.evaluate(
        """() => {
          const by = (title) => app.rootGraph.nodes.find((node) => node.title === title);
          by("Sample, high noise").widgets.find(({ name }) => name === "sampler_name").value = "eulr";
          by("VAE").widgets.find(({ name }) => name === "vae_name").value = "wan_2.1_vea.safetensors";
        }"""
    )
    camera.command("Callsheet.Check", pause=3000)
    camera.page.locator(".callsheet-panel li button").last.click()
    camera.look_at("Sample, high noise", scale=0.9, right=-90)
    camera.take("editor-check")
    camera.page.locator(".callsheet-panel .action").last.click()


def help_page(camera: Camera) -> None:
    camera.size(1400, 900)
    camera.editor.clear()
    camera.editor.add("CallsheetKeyframes", **FILLED["CallsheetKeyframes"])
    camera.look_at("Keyframes")
    camera.page.evaluate("() => app.canvas.selectItems([app.graph._nodes[0]])")
    camera.page.locator("[data-testid=info-button]").first.click()
    camera.page.wait_for_timeout(1500)
    edge = camera.page.locator("[role=separator], .p-splitter-gutter").last.bounding_box()
    assert edge
    camera.page.mouse.move(edge["x"] + edge["width"] / 2, 450)
    camera.page.mouse.down()
    camera.page.mouse.move(760, 450, steps=8)
    camera.page.mouse.up()
    camera.page.wait_for_timeout(800)
    camera.look_at("Keyframes", right=-300, down=-20)
    camera.take("editor-help")
    camera.editor.clear()


def nodes(camera: Camera) -> None:
    """Each node of the pack by itself, for its help page."""
    camera.size(900, 1100)
    for file in sorted(HELP.glob("*.md")):
        camera.editor.clear()
        number = camera.editor.add(file.stem, **FILLED.get(file.stem, {}))
        camera.node(HELP / "pictures" / f"{file.stem}.png", number)
    camera.editor.clear()


FILLED = {
    "CallsheetText": {"title": "Prompt", "name": "prompt", "value": "A small boat on a calm lake at dawn"},
    "CallsheetInteger": {"title": "Width", "name": "width", "min": 64, "max": 1920, "step": 16, "value": 832},
    "CallsheetNumber": {"title": "Duration", "name": "duration", "min": 1, "max": 15, "value": 5},
    "CallsheetBoolean": {"title": "Turbo", "name": "turbo", "value": True},
    "CallsheetChoice": {"title": "Quality preset", "name": "quality_preset", "value": "balanced"},
    "CallsheetSeed": {"title": "Seed", "name": "seed", "value": 1234567},
    "CallsheetImage": {"title": "Image", "name": "image_url", "value": "sunrise.png"},
    "CallsheetAudio": {"title": "Audio", "name": "audio_url", "value": "speech.wav"},
    "CallsheetVideo": {"title": "Video", "name": "video_url"},
    "CallsheetKeyframes": {
        "title": "Keyframes",
        "name": "keyframes",
        "value": json.dumps([
            {"image": "sunrise.png", "position": "first"},
            {"image": "noon.png", "position": 0.5},
            {"image": "night.png", "position": "last"},
        ]),
    },
    "CallsheetLoraStack": {
        "rows": json.dumps([
            {"lora": "ltx-2-19b-ic-lora-detailer.safetensors", "strength": 0.8, "on": True},
            {"lora": "ltx-2-19b-lora-camera-control-jib-up.safetensors", "strength": 1, "on": False},
        ]),
    },
    "CallsheetSpeakers": {
        "title": "Speakers",
        "name": "speakers",
        "value": json.dumps([{"audio": "speech.wav", "bbox": [0.1, 0.2, 0.3, 0.4]}]),
    },
}  # fmt: skip
SHOTS: tuple[Callable[[Camera], None], ...] = (
    graph, templates, keyframes, app_view, check, help_page, nodes,
)  # fmt: skip


def main() -> None:
    """Takes all pictures, or those whose names are given."""
    wanted = [shot for shot in SHOTS if not sys.argv[1:] or shot.__name__ in sys.argv[1:]]
    scratch = tempfile.TemporaryDirectory()  # the editor's settings are nobody's
    config = dataclasses.replace(settings.from_environment(), home=Path(scratch.name))
    wan = workflow.find("wan-t2v", config.workflows)
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chrome")
    (HELP / "pictures").mkdir(exist_ok=True)
    with (
        editors.running(config, wan, rehearse=True, port=0) as (engine, _),
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as profile,
    ):
        example.make(engine.input)
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=executable, headless=True, args=CHROMIUM_ARGS
        )
        page: Page = context.new_page()
        editor = Editor(page, engine.url)
        editor.open()
        page.evaluate("() => app.extensionManager.setting.set('Comfy.Minimap.Visible', false)")
        for shot in wanted:
            shot(Camera(editor))
        context.close()


if __name__ == "__main__":
    main()
