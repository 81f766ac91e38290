"""Callsheet's headless runner: one workflow JSON in, one stored video out."""
