"""Linear probes: what the state of a module tells of a word, for many networks at once."""

from typing import NamedTuple

import torch
from torch import Tensor

# λ of the ridge, in units of the number of examples, for features of unit variance
STRENGTHS = tuple(10.0**exponent for exponent in range(-4, 3))
_CONSTANT = 1e-6  # a feature's standard deviation below which it tells nothing


class Probe(NamedTuple):
    """Fitted probes, one for each of R networks.

    Attributes:
        mean: (R, 1, k) of the features.
        scale: (R, 1, k) what standardises them; 0 for one that is constant.
        weight: (R, k, K), or (L, R, k, K) for L strengths.
        bias: (K,) each class's share of the examples.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor

    def __call__(self, features: Tensor) -> Tensor:
        """(R, S, k) features to (R, S, K) or (L, R, S, K) scores; the greatest is the class."""
        return (features - self.mean) * self.scale @ self.weight + self.bias


def fit(features: Tensor, labels: Tensor, classes: int, strengths: Tensor) -> Probe:
    """Ridge regression of each class's indicator (1 or 0) on standardised features.

    Args:
        features: (R, S, k) float64.
        labels: (S,) int64.
        classes: K.
        strengths: (R,) λ / S of each network, or (L, R): several.
    """
    mean, deviation = features.mean(1, keepdim=True), features.std(1, correction=0, keepdim=True)
    scale = torch.where(deviation > _CONSTANT, 1 / deviation.clamp(min=_CONSTANT), 0)
    x = (features - mean) * scale
    y = torch.nn.functional.one_hot(labels, classes).to(x)
    bias = y.mean(0)
    gram = x.transpose(1, 2) @ x / len(labels)  # (R, k, k)
    right = x.transpose(1, 2) @ (y - bias) / len(labels)
    ridge = strengths.to(x)[..., None, None] * torch.eye(x.shape[2], dtype=x.dtype)
    left = torch.linalg.cholesky(gram + ridge)
    weight = torch.cholesky_solve(right.expand(*left.shape[:-2], -1, -1), left)
    return Probe(mean, scale, weight, bias)


def folds(labels: Tensor) -> list[Tensor]:
    """(S,) bool each, what is held out: of each class one example, or none where it has fewer.

    As many as the class with the most examples has; at most 5, then several each.
    """
    rank = torch.zeros_like(labels)
    for label in labels.unique():  # type: ignore[no-untyped-call]
        mine = labels == label
        rank[mine] = torch.arange(int(mine.sum()))
    count = min(int(rank.max()) + 1, 5)
    return [rank % count == fold for fold in range(count)]


def chosen(features: Tensor, labels: Tensor, classes: int) -> Tensor:
    """(R,) of :data:`STRENGTHS`, that each network's probe does best with on words held out.

    By cross-validation over :func:`folds` of the training words: the squared error of all classes'
    scores, which tells more than the rate of right words does. With one example per class, the
    greatest.

    Args:
        features: (R, S, k) float64 of the training words.
        labels: (S,) int64.
        classes: K.
    """
    parts = folds(labels)
    if len(parts) < 2:
        return torch.full((len(features),), STRENGTHS[-1])
    every = torch.tensor(STRENGTHS)[:, None].expand(-1, len(features))  # (L, R)
    errors = torch.zeros(every.shape, dtype=features.dtype)
    for out in parts:
        wanted = torch.nn.functional.one_hot(labels[out], classes).to(features)
        probes = fit(features[:, ~out], labels[~out], classes, every)
        errors += (probes(features[:, out]) - wanted).square().sum((2, 3))
    return every[:, 0][errors.argmin(0)]
