"""The doors: the command line now, RunPod's worker and a web service later."""
