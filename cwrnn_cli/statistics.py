"""Statistics of networks' errors, as every table and figure gives them. A leaf.

A median has a bootstrap interval, a comparison counts pairs of networks, and networks that diverged
are never left out without a word: beside the figure of those that did not (the survivors) stands
what it would be if each of the others counted as one that gives a constant, or as infinitely bad.
"""

from functools import cache, lru_cache

import numpy as np
from scipy import stats

LEVEL = 0.95  # of all intervals
RESAMPLES = 999
RATIO_RESAMPLES = 9999
_TINY = 1e-12
SLACK = 3.0

Numbers = dict[str, float | None]


def statistics(values: np.ndarray) -> Numbers:
    """mean, std (of a sample), median, q25, q75, min and max; None where undefined."""
    names = ("mean", "std", "median", "q25", "q75", "min", "max")
    if not len(values):
        return dict.fromkeys(names)
    q25, median, q75 = np.quantile(values, (0.25, 0.5, 0.75))
    numbers = (
        values.mean(),
        values.std(ddof=1) if len(values) > 1 else None,
        median,
        q25,
        q75,
        values.min(),
        values.max(),
    )
    return {n: None if v is None else float(v) for n, v in zip(names, numbers, strict=True)}


def median(values: np.ndarray, groups: np.ndarray | None = None) -> Numbers:
    """``median``, and the ends of its bootstrap interval: ``low``, ``high``.

    The interval is over networks: what other initial weights would give on the same data.

    Args:
        values: (R,); infinite ones are larger than all others.
        groups: (R,) which group (sequence) each belongs to; networks are drawn within it, so that
            every group stays as large as it is. None: they are all of one.

    Returns:
        None for a number that is infinite; for all of them where there is no network, and for the
        interval where there is one only, be it in each group.
    """
    if not len(values):
        return dict.fromkeys(("median", "low", "high"))
    found = {"median": _finite(np.median(values))}
    if len(values) < 2 or (groups is not None and _is_alone(groups)):
        return found | {"low": None, "high": None}
    if groups is None or (groups == groups[0]).all():
        low, high = np.sort(values)[list(_ranks(len(values)))]
    else:
        low, high = _within_groups(values, groups)
    return found | {"low": _finite(low), "high": _finite(high)}


@cache
def _ranks(count: int) -> tuple[int, int]:
    """Between which values of ``count``, in their order, the median's interval lies."""
    interval = stats.bootstrap(
        (np.arange(count, dtype=np.float64),),
        np.median,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return int(np.floor(interval.low)), int(np.ceil(interval.high))


def _is_alone(groups: np.ndarray) -> bool:
    """Whether each group has one network, so that nothing of it can be drawn otherwise."""
    return len(np.unique(groups)) == len(groups)


def _within_groups(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """As :func:`_ranks`, but the interval's ends, with each group resampled by itself."""
    low, high = ends(np.median(values[draws(groups)], axis=1))
    return np.array([low, high])


def draws(groups: np.ndarray, seed: int = 0) -> np.ndarray:
    """(RESAMPLES, R) networks, drawn with replacement within the group that each belongs to.

    Args:
        groups: (R,).
        seed: of the draws; another one for networks that are drawn beside others.
    """
    rng, drawn = np.random.default_rng(seed), []
    for group in np.unique(groups):
        mine = np.flatnonzero(groups == group)
        drawn.append(mine[rng.integers(len(mine), size=(RESAMPLES, len(mine)))])
    return np.concatenate(drawn, axis=1)


def ends(resampled: np.ndarray) -> tuple[float, float]:
    """Between what the middle 95 % of a statistic's resamples lie.

    Args:
        resampled: (RESAMPLES,); what is no number is larger than all others.
    """
    last = len(resampled) - 1
    ranks = [np.floor(last * (1 - LEVEL) / 2), np.ceil(last * (1 + LEVEL) / 2)]
    low, high = np.sort(resampled)[np.array(ranks, int)]
    return float(low), float(high)


def conventions(
    errors: np.ndarray,
    diverged: np.ndarray,
    constant: np.ndarray | float,
    groups: np.ndarray | None = None,
) -> dict[str, Numbers]:
    """The median over the survivors, and over all networks under two conventions.

    Args:
        errors: (R,).
        diverged: (R,) bool.
        constant: what a network scores that gives a constant; (R,), or one for all.
        groups: (R,), see :func:`median`.

    Returns:
        ``survivors``, ``as_constant``, ``as_infinite``: each as :func:`median`.
    """
    survivors = median(errors[~diverged], None if groups is None else groups[~diverged])
    if not diverged.any():  # all three are the same
        return dict.fromkeys(("survivors", "as_constant", "as_infinite"), survivors)
    return {
        "survivors": survivors,
        "as_constant": median(np.where(diverged, constant, errors), groups),
        "as_infinite": median(np.where(diverged, np.inf, errors), groups),
    }


def tolerance(found: Numbers) -> list[float | None]:
    """Between what the median of a second training of the same networks may lie.

    Elsewhere sums are taken in another order, and after many updates a network is another one: as
    if it had other initial weights. So :data:`SLACK` times as far as its interval on either side.

    Args:
        found: of :func:`median`.
    """
    middle, low, high = (found[name] for name in ("median", "low", "high"))
    if middle is None or low is None or high is None:
        return [None, None]
    return [middle + SLACK * (low - middle), middle + SLACK * (high - middle)]


def within(values: np.ndarray, groups: np.ndarray) -> float | None:
    """Standard deviation over networks about the mean of their own group (a sequence).

    The pooled one mixes what differs between groups with what initial weights do; this does not.

    Args:
        values: (R,).
        groups: (R,) which one each belongs to.
    """
    names, of = np.unique(groups, return_inverse=True)
    freedom = len(values) - len(names)
    if freedom < 1:
        return None
    means = np.bincount(of, values) / np.bincount(of)
    return float(np.sqrt(np.square(values - means[of]).sum() / freedom))


def wins(
    ours: np.ndarray, others: np.ndarray, diverged: tuple[np.ndarray, np.ndarray]
) -> dict[str, float | int]:
    """In how many pairs of networks of one index (seed and sequence) ours has the lower error.

    A network that diverged is infinitely bad; a pair of equals is a tie and not won.

    Args:
        ours: (R,) errors.
        others: (R,).
        diverged: (R,) bool each, of ours and of the others.

    Returns:
        ``pairs``, ``won``, ``ties``, ``share`` won, with the ends of its exact (Clopper-Pearson)
        interval ``low`` and ``high``.
    """
    a, b = (np.where(d, np.inf, e) for e, d in zip((ours, others), diverged, strict=True))
    won, pairs = int((a < b).sum()), len(a)
    return {"pairs": pairs, "won": won, "ties": int((a == b).sum()), **share(won, pairs)}


def share(count: int, of: int) -> dict[str, float]:
    """``share``, with the ends of its exact (Clopper-Pearson) interval ``low`` and ``high``."""
    interval = stats.binomtest(count, of).proportion_ci(LEVEL)
    return {"share": count / of, "low": float(interval.low), "high": float(interval.high)}


def spearman(first: np.ndarray, second: np.ndarray) -> Numbers:
    """Spearman's rank correlation ``rho``, and ``p`` of it or more on either side by chance.

    Args:
        first: (P,).
        second: (P,).

    Returns:
        None for both where there are less than 3, or one of the two is constant.
    """
    if len(first) < 3 or not (np.ptp(first) and np.ptp(second)):
        return {"rho": None, "p": None}
    found = stats.spearmanr(first, second)
    return {"rho": float(found.statistic), "p": float(found.pvalue)}


def ratio_of_means(
    above: tuple[np.ndarray, np.ndarray], below: tuple[np.ndarray, np.ndarray]
) -> tuple[float, float] | None:
    """The ends of the bootstrap interval of a mean error over another's, networks resampled.

    Args:
        above: (R,) errors, and (R,) which group (sequence) each network belongs to, within which it
            is drawn.
        below: (R',) each, likewise; errors above 0.

    Returns:
        None where a group has one network only, which cannot vary.
    """
    if any(np.unique(groups, return_counts=True)[1].min() < 2 for _, groups in (above, below)):
        return None
    over, under = (
        errors[draws(groups, seed)].mean(axis=1)
        for seed, (errors, groups) in enumerate((above, below))
    )
    return ends(over / np.maximum(under, _TINY))


def ratio(above: np.ndarray, below: np.ndarray, words: np.ndarray) -> dict[str, float]:
    """Ratio of mean rates of errors, with two bootstrap intervals.

    Args:
        above: (R, S) bool, which network gets which of the test set's examples wrong.
        below: (R', S).
        words: (S,) which word an example is of.

    Returns:
        ``ratio``; ``low`` and ``high``, with networks resampled: other initial weights, the same
        test set; ``low_words`` and ``high_words``, with networks and words resampled together, a
        word with all its examples, the same ones for both: other words of such a corpus as well.
    """
    wrong = [np.ascontiguousarray(each, bool) for each in (above, below)]
    of = np.unique(words, return_inverse=True)[1].astype(np.int64)
    return dict(_ratio(*(w.tobytes() for w in wrong), of.tobytes()))


@lru_cache(maxsize=512)  # a page and its tables ask for the same one several times
def _ratio(first: bytes, second: bytes, examples: bytes) -> dict[str, float]:
    """:func:`ratio`, of what can be looked up: (R, S) and (R', S) bool, (S,) int64 of its word."""
    of = np.frombuffer(examples, np.int64)
    above, below = (np.frombuffer(w, bool).reshape(-1, len(of)) for w in (first, second))
    rng = np.random.default_rng(0)
    drawn = [_multinomial(rng, len(w)) @ w for w in (above, below)]  # (RATIO_RESAMPLES, S) rates
    fixed = [d.mean(axis=1) for d in drawn]
    weights = _multinomial(rng, of.max() + 1)[:, of]
    weights /= weights.sum(axis=1, keepdims=True)
    resampled = [(d * weights).sum(axis=1) for d in drawn]
    tails = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(fixed[0] / np.maximum(fixed[1], _TINY), tails)
    low_words, high_words = np.quantile(resampled[0] / np.maximum(resampled[1], _TINY), tails)
    return {
        "ratio": float(above.mean() / max(below.mean(), _TINY)),
        "low": float(low),
        "high": float(high),
        "low_words": float(low_words),
        "high_words": float(high_words),
    }


def _multinomial(rng: np.random.Generator, count: int) -> np.ndarray:
    """(RATIO_RESAMPLES, count) shares of each in ``count`` draws with replacement."""
    each = np.full(count, 1 / count)
    shares: np.ndarray = rng.multinomial(count, each, size=RATIO_RESAMPLES) / count
    return shares


def _finite(value: float) -> float | None:
    """For JSON, which has no infinity."""
    return float(value) if np.isfinite(value) else None
