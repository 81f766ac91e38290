"""UI workflow → API prompt, exactly as the editor converts it. Pure."""

from runner.graph.browser import BrowserInput, browser_only_inputs
from runner.graph.convert import ApiPrompt, is_api_format, is_ui_format, to_api

__all__ = [
    "ApiPrompt",
    "BrowserInput",
    "browser_only_inputs",
    "is_api_format",
    "is_ui_format",
    "to_api",
]
