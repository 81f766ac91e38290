"""The fixtures of workers.py."""

from workers import cloud, site, start

__all__ = ["cloud", "site", "start"]
