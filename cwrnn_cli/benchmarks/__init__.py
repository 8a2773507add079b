"""What `cwrnn bench` measures: layers and ensembles, side by side with torch's own in one run."""
