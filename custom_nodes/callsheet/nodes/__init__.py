"""What ComfyUI sees: schemas, and the thinnest step from a socket to a pure function in `ops`."""
