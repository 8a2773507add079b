"""cwrnn: the Clockwork RNN of Koutník, Greff, Gomez and Schmidhuber (ICML 2014), whole."""

from data_prep import __version__

__all__ = ["__version__"]
