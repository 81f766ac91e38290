"""`callsheet worker`."""

import sys

import typer


def worker(ctx: typer.Context) -> None:
    """Serve requests behind RunPod, or as an API of this machine.

    Checks this machine first: disk, storage, GPU, models. Settings come from the environment
    (docs/worker.md). What follows the command is the RunPod SDK's own.

        # behind RunPod, which starts the container
        callsheet worker
        # an API on this machine: POST /runsync, /run and /status/ID
        callsheet worker --rp_serve_api --rp_api_port 8000
        # one job, its answer on the log
        callsheet worker --test_input '{"input": {"workflow": "wan-t2v@1", "params": {"prompt": "a kite"}}}'
    """
    from runner.entrypoints import runpod  # its SDK takes a second to import

    sys.argv = ["callsheet worker", *ctx.args]  # where the SDK looks for its options
    runpod.serve()
