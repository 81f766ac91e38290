"""Hand-made weights. Imported by the build process only: needs torch and ComfyUI's modules."""
