"""The model files of workflows on this machine: found, fetched, verified."""
