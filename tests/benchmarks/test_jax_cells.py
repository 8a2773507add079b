"""A layer written in JAX against ours: the same gradients."""

import pytest
import torch

from cwrnn_cli.models import ClockworkSpec, LSTMSpec, SRNSpec

jax_cells = pytest.importorskip(
    "cwrnn_cli.benchmarks.jax_cells", reason="JAX is not installed", exc_type=ImportError
)

CELLS = [
    SRNSpec(9),
    LSTMSpec(5),
    LSTMSpec(5, peepholes=True),
    ClockworkSpec.of_size(11, {"periods": 4}),
    ClockworkSpec.of_size(11, {"periods": (2, 3, 7), "clock_origin": 1}),
    ClockworkSpec.of_size(9, {"periods": (1, 1, 5, 40), "module_sizes": (2, 4, 1, 2)}),
]


@pytest.mark.parametrize(
    ("cell", "setting"),
    [(cell, s) for cell in CELLS for s in jax_cells.settings(cell) if s.unroll == 4],
    ids=str,
)
def test_a_layers_gradients_are_ours(cell, setting):
    torch.manual_seed(0)
    layer = cell.layer(3)
    x, gradient = torch.randn(23, 2, 3), torch.randn(23, 2, cell.hidden_size)
    output, _ = layer(x)
    output.backward(gradient)
    weights = {n: jax_cells.array(w) for n, w in layer.named_parameters()}
    arguments = (weights, jax_cells.array(x), jax_cells.array(gradient))
    found = jax_cells.weight_gradients(cell, setting)(*arguments)
    assert set(found) == set(weights)
    for name, weight in layer.named_parameters():
        torch.testing.assert_close(torch.tensor(found[name].tolist()), weight.grad)


def test_the_fastest_setting_is_named():
    cell = SRNSpec(4)
    weights = {n: jax_cells.array(w) for n, w in cell.layer(2).named_parameters()}
    x, gradient = (jax_cells.array(torch.randn(6, 1, size)) for size in (2, 4))
    call, name = jax_cells.fastest(cell, jax_cells.weight_gradients, (weights, x, gradient))
    assert name in {str(setting) for setting in jax_cells.settings(cell)}
    assert call()["weight_hh"].shape == (4, 4)
