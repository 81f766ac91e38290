"""Where RunPod's Hub begins: the worker, as `callsheet worker` starts it."""

from runner.entrypoints.runpod import serve

if __name__ == "__main__":
    serve()
