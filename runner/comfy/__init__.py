"""ComfyUI: the process (engine) and the conversation with it (client)."""
