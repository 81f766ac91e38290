"""The graph editor in a browser: short names for what tests do with it."""

import json
import uuid
from typing import Any

from playwright.sync_api import ConsoleMessage, Locator, Page

# Registered nodes alone are not enough: the Vue half of the editor comes up later.
EDITOR_IS_READY = """() => window.app?.vueAppReady && app.graph && !app.extensionManager?.spinner
  && Object.keys(window.LiteGraph?.registered_node_types ?? {}).length > 100"""

# What was drawn last shows the graph as it is: Vue has rendered, and whoever waited for a frame had one.
FRAMES = """() => new Promise((done) => {
  requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done, 30)));
})"""


class Editor:
    """The graph editor in a browser: short names for what tests do with it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []  # errors and warnings that come from our packs' scripts
        self.errors: list[str] = []  # what the console calls an error, whoever says it
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(f"{message.text} {message.location.get('url', '')}")
        from_pack = "/extensions/callsheet" in message.location.get("url", "") + message.text
        if message.type in ("error", "warning") and from_pack:
            self.complaints.append(message.text)

    def open(self, *, vue_nodes: bool = True) -> None:
        self.page.goto(self.url, wait_until="domcontentloaded", timeout=120_000)
        self.page.wait_for_function(EDITOR_IS_READY, timeout=120_000)
        self.page.evaluate(
            """async (vue) => {
              const settings = app.extensionManager.setting;
              await settings.set("Comfy.TutorialCompleted", true);
              await settings.set("Comfy.VueNodes.Enabled", vue);
              await settings.set("Comfy.Graph.CanvasInfo", false);
            }""",
            vue_nodes,
        )
        self.page.wait_for_timeout(500)
        self.page.keyboard.press("Escape")  # the template browser of a first visit
        self.clear()

    def clear(self) -> None:
        """An empty graph with a new id: the editor keeps widget states by graph and node id."""
        empty = {"id": str(uuid.uuid4()), "nodes": [], "links": [], "version": 0.4}
        self.page.evaluate(
            """async (empty) => {
              await app.loadGraphData(empty);
              app.canvas.ds.scale = 1;
              app.canvas.ds.offset = [0, 0];
            }""",
            empty,
        )
        self.forget()

    def settle(self) -> None:
        """Until what was done to the graph is on the page."""
        self.page.evaluate(FRAMES)

    def forget(self) -> None:
        """What was said so far."""
        self.complaints.clear()
        self.errors.clear()

    def add(self, node_id: str, *, title: str | None = None, **values: Any) -> int:
        """A fresh node, as from the menu, with these widget values; its id."""
        number = self.page.evaluate(
            """([type, title, values]) => {
              const node = LiteGraph.createNode(type);
              const i = app.graph._nodes.length;
              node.pos = [120 + (i % 3) * 420, 120 + Math.floor(i / 3) * 260];
              app.graph.add(node);
              if (title) node.title = title;
              for (const [name, value] of Object.entries(values))
                node.widgets.find((widget) => widget.name === name).value = value;
              app.canvas.setDirty(true, true);
              return node.id;
            }""",
            [node_id, title, values],
        )
        self.settle()
        return int(number)

    def value(self, node: int, name: str = "value") -> Any:
        return self.page.evaluate(
            "([id, name]) => app.graph.getNodeById(id).widgets.find((w) => w.name === name).value",
            [node, name],
        )

    def shown(self, node: int) -> str:
        """What the number field of a node shows."""
        return self._number(node).input_value()

    def type_number(self, node: int, text: str) -> Any:
        """Types into the value's field; the value after that."""
        self._number(node).fill(text, force=True)
        return self.press(node, "Enter")

    def press(self, node: int, key: str) -> Any:
        self._number(node).press(key)
        self.settle()
        return self.value(node)

    def _number(self, node: int) -> Locator:
        return self.page.locator(f"[data-node-id='{node}'] input[role=spinbutton]").first

    def save(self) -> dict[str, Any]:
        return self.page.evaluate("() => JSON.parse(JSON.stringify(app.rootGraph.serialize()))")

    def load(self, workflow: dict[str, Any]) -> None:
        self.page.evaluate(
            "async (text) => app.loadGraphData(JSON.parse(text))", json.dumps(workflow)
        )
        self.settle()

    def open_template(self, name: str) -> None:
        """One of our workflows as the template browser opens it, with no complaint so far."""
        self.forget()
        self.page.evaluate(
            """async (name) => {
              const path = `/workflow_templates/callsheet_workflows/${name}.json`;
              const file = await (await app.api.fetchApi(path)).json();
              file.id = crypto.randomUUID();
              await app.loadGraphData(file, true, true, name);
            }""",
            name,
        )
        self.settle()

    def set(self, **values: Any) -> None:
        """Values of the open workflow's parameters by their names."""
        self.page.evaluate(
            """(values) => {
              const widget = (node, name) => node.widgets?.find((one) => one.name === name);
              for (const node of app.rootGraph.nodes) {
                const name = node.comfyClass?.startsWith("Callsheet") && widget(node, "name")?.value;
                if (!name || !(name in values)) continue;
                widget(node, "value").value = values[name];
                delete values[name];
              }
              if (Object.keys(values).length) throw new Error(`no such parameter: ${Object.keys(values)}`);
            }""",
            values,
        )

    def run(self, *, within: float = 120.0) -> dict[str, Any]:
        """Queue the open workflow as the Run button does; its history entry, when it has ended.

        Seconds. Raises AssertionError with ComfyUI's words if it is refused or fails.
        """
        before = self.page.evaluate(
            """async () => Object.keys(await (await app.api.fetchApi("/history")).json())"""
        )
        self.page.evaluate("() => app.extensionManager.command.execute('Comfy.QueuePrompt')")
        return self.page.evaluate(
            """async ([before, within]) => {
              const ask = async () => Object.entries(await (await app.api.fetchApi("/history")).json());
              for (let i = 0; i < within * 5; i++) {
                if (app.lastNodeErrors) throw new Error(`refused: ${JSON.stringify(app.lastNodeErrors)}`);
                const [, entry] = (await ask()).find(([id]) => !before.includes(id)) ?? [];
                if (entry?.status?.completed !== undefined) return entry;
                await new Promise((go) => setTimeout(go, 200));
              }
              throw new Error(`no end within ${within} s`);
            }""",
            [before, within],
        )

    def api_prompt(self) -> dict[str, Any]:
        return self.page.evaluate("async () => (await app.graphToPrompt()).output")
