"""From a raw corpus to one HDF5 file; the first room of the house."""

__version__ = "0.1.0"
