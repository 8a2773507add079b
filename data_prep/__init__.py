"""From a raw corpus to one HDF5 file; the first room of the house."""

__version__ = "1.0.0"
# Noted in every corpus as what made it. A corpus' digest covers that note, and published results
# name the digest: so this is raised only when the same sources no longer give the same corpus.
PREPARATION = "0.1.0"
