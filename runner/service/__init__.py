"""Callsheet as a service: requests from strangers → jobs → answers, whoever brings the requests."""
