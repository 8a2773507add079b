"""Prefix beam search over CTC's outputs, compiled (Hannun et al., 2014, algorithm 1).

A beam is a text so far, with the probability of all paths to it, those that end in a blank apart
from the others. Texts share their beginnings in a tree: a node has a parent and a unit.
"""

import math

import numpy as np

from .products import jit

_NEVER = -1e30  # log of no probability at all
_HOPELESS = -12.0  # log of the least probability of a unit that is tried at a step


@jit
def _add(a, b):
    """log(exp(a) + exp(b))."""
    high, low = max(a, b), min(a, b)
    return high if low <= _NEVER else high + math.log1p(math.exp(low - high))


@jit
def search(log_p, width, language, weight, bonus):
    """The likeliest text of one line.

    Args:
        log_p: (T, units) float, log of each unit's probability at each step; unit 0 is the blank.
        width: beams kept.
        language: (contexts, units) float, log of a unit's probability after a context; contexts is
            a power of units: the last units of the text as a number in that base, 0 where there
            is none yet.
        weight: of ``language`` in a text's score.
        bonus: added to a text's score for every unit.

    Returns:
        The text's units.
    """
    steps, units = log_p.shape
    contexts = language.shape[0]
    parent = np.empty(steps * width + 1, np.int64)
    unit = np.empty(steps * width + 1, np.int64)
    parent[0] = unit[0] = -1
    nodes = 1
    beams = 1
    most = width * (units + 1)
    node = np.zeros(width, np.int64)
    blank = np.full(width, _NEVER)  # log probability of the paths that end in a blank
    other = np.full(width, _NEVER)  # ... of the others
    prior = np.zeros(width)  # what the language model and the bonus add to the score
    context = np.zeros(width, np.int64)
    blank[0] = 0.0
    from_beam = np.empty(most, np.int64)
    by = np.empty(most, np.int64)  # unit that is added, 0 for none
    new_blank, new_other, new_prior = np.empty(most), np.empty(most), np.empty(most)
    scores = np.empty(most)
    for t in range(steps):
        for b in range(beams):  # the same texts again
            last = unit[node[b]]
            total = _add(blank[b], other[b])
            from_beam[b], by[b] = b, 0
            new_blank[b] = total + log_p[t, 0]
            new_other[b] = other[b] + log_p[t, last] if last > 0 else _NEVER
            new_prior[b] = prior[b]
        count = beams
        for b in range(beams):
            last = unit[node[b]]
            total = _add(blank[b], other[b])
            for c in range(1, units):
                if log_p[t, c] < _HOPELESS:
                    continue
                way = (blank[b] if c == last else total) + log_p[t, c]
                if way <= _NEVER:
                    continue
                same = -1
                for q in range(beams):  # the longer text may be a beam already
                    if parent[node[q]] == node[b] and unit[node[q]] == c:
                        same = q
                if same >= 0:
                    new_other[same] = _add(new_other[same], way)
                    continue
                from_beam[count], by[count] = b, c
                new_blank[count], new_other[count] = _NEVER, way
                new_prior[count] = prior[b] + weight * language[context[b], c] + bonus
                count += 1
        for i in range(count):
            scores[i] = -(_add(new_blank[i], new_other[i]) + new_prior[i])
        order = np.argsort(scores[:count])[:width]
        kept = order.size
        next_node = np.empty(width, np.int64)
        next_context = np.empty(width, np.int64)
        for i in range(kept):
            j = order[i]
            b = from_beam[j]
            if by[j] == 0:
                next_node[i], next_context[i] = node[b], context[b]
            else:
                parent[nodes], unit[nodes] = node[b], by[j]
                next_node[i] = nodes
                next_context[i] = (context[b] * units + by[j]) % contexts
                nodes += 1
        for i in range(kept):
            node[i], context[i] = next_node[i], next_context[i]
        blank[:kept] = new_blank[order]
        other[:kept] = new_other[order]
        prior[:kept] = new_prior[order]
        beams = kept
    length = 0
    at = node[0]
    while parent[at] >= 0:
        length += 1
        at = parent[at]
    text = np.empty(length, np.int64)
    at = node[0]
    while parent[at] >= 0:
        length -= 1
        text[length] = unit[at]
        at = parent[at]
    return text
