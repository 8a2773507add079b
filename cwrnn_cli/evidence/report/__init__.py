"""The page of `cwrnn report`: a folder of results as one HTML file that needs nothing else."""
