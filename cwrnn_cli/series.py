"""Series of clock periods, by name. A leaf.

Section 6 of the paper: exponential periods are an arbitrary choice; linear, Fibonacci or
logarithmic series, or random ones, might do as well.
"""

from collections.abc import Callable, Iterator
from itertools import count, islice
from math import isqrt, log

import numpy as np

MOST = 256  # periods


def _exponential(lowest: int, modules: int, seed: int) -> list[int]:
    return [lowest * 2**i for i in range(modules)]


def _linear(lowest: int, modules: int, seed: int) -> list[int]:
    return list(range(lowest, lowest + modules))


def _fibonacci(lowest: int, modules: int, seed: int) -> list[int]:
    def numbers() -> Iterator[int]:
        a, b = 1, 2
        while True:
            yield a
            a, b = b, a + b

    return _from(lowest, numbers(), modules)


def _primes(lowest: int, modules: int, seed: int) -> list[int]:
    primes = (n for n in count(max(lowest, 2)) if all(n % d for d in range(2, isqrt(n) + 1)))
    return _from(lowest, primes, modules)


def _from(lowest: int, numbers: Iterator[int], modules: int) -> list[int]:
    """The lowest, and then those of ascending numbers that are above it."""
    above = (number for number in numbers if number > lowest)
    return [lowest, *islice(above, modules - 1)]


def _logarithmic(lowest: int, modules: int, seed: int) -> list[int]:
    """As far as the exponential ones, in steps that become smaller."""
    *_, highest = _exponential(lowest, modules, seed)
    shares = (log(1 + i) / log(max(modules, 2)) for i in range(modules))
    return [round(lowest + (highest - lowest) * share) for share in shares]


def _random(lowest: int, modules: int, seed: int) -> list[int]:
    """The lowest, and others up to the highest exponential one, log-uniform, all different."""
    *_, highest = _exponential(lowest, modules, seed)
    generator = np.random.default_rng(seed)
    found = {lowest}
    while len(found) < modules:
        found.add(round(np.exp(generator.uniform(log(lowest), log(highest)))))
    return sorted(found)


# (lowest period, modules, seed) to the periods, ascending, all different
SERIES: dict[str, Callable[[int, int, int], list[int]]] = {
    "exp": _exponential,
    "linear": _linear,
    "fib": _fibonacci,
    "prime": _primes,
    "log": _logarithmic,
    "random": _random,
}


def series(name: str, modules: int, lowest: int = 1, seed: int = 0) -> tuple[int, ...]:
    """Clock periods, ascending, all different, that begin with the lowest.

    Args:
        name: of :data:`SERIES`. ``exp``: each twice the one before; ``linear``: each 1 more;
            ``fib`` and ``prime``: Fibonacci numbers, or primes, above the lowest; ``log``: up to
            the highest of ``exp``, by the logarithm of the module's number, so that fast modules
            are far apart; ``random``: up to there, log-uniform.
        modules: how many.
        lowest: above 1, the network is a low-pass filter.
        seed: of ``random``.
    """
    return tuple(SERIES[name](lowest, modules, seed))


def parse_series(text: str) -> tuple[int, ...]:
    """NAME:MODULES, NAME:MODULES:LOWEST or random:MODULES:LOWEST:SEED.

    Raises:
        ValueError: anything else.
    """
    name, *numbers = (word.strip() for word in text.split(":"))
    most = 3 if name == "random" else 2
    fits = name in SERIES and 1 <= len(numbers) <= most and all(n.isdecimal() for n in numbers)
    values = [int(number) for number in numbers] if fits else [0]
    if not 1 <= values[0] <= MOST or 0 in values[1:2]:
        raise ValueError(
            f"{text!r}: expected a series of {', '.join(SERIES)}, with a number of modules, and if "
            "you like the lowest period and for random ones a seed: exp:9, fib:7:2, random:9:1:5"
        )
    return series(name, *values)
