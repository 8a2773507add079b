"""Training: the configuration, the engines, the run folder, and a loop that survives a kill."""
