"""Templates that may be a stranger's: they compute with what they are given, no more."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jinja2.environment import TemplateModule
from jinja2.runtime import LoopContext
from jinja2.sandbox import SandboxedEnvironment
from jinja2.utils import Namespace

_PLAIN = (str, int, float, list, tuple, Mapping, Namespace, LoopContext, TemplateModule)
# no others: `tofile` and `dump` write anywhere
_OF_ARRAYS = {"all", "any", "astype", "max", "mean", "min", "round", "std", "sum", "tolist"}


class Sandbox(SandboxedEnvironment):
    """Jinja's own, with methods of plain values only, and such of arrays as compute.

    Not the immutable one: pages gather what they show in lists of their own.
    """

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """See :class:`jinja2.sandbox.SandboxedEnvironment`."""
        if not super().is_safe_attribute(obj, attr, value):
            return False
        if isinstance(obj, np.ndarray | np.generic):
            return not callable(value) or attr in _OF_ARRAYS
        return not callable(value) or isinstance(obj, _PLAIN)
