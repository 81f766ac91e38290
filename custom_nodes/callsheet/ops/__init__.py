"""Pure functions: no ComfyUI, no files, no state."""
