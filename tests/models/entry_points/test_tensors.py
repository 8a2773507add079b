"""Types, and how outputs lie in memory."""

import pytest
import torch
import torch._dynamo.testing
import torch.nn.utils.prune
import torch.utils.checkpoint
from torch import nn

from tests.models.entry_points.common import X, build, every, gradients, same


@every
def test_autocast(name):
    module, x = build(name, torch.float32), X.float()
    expected, expected_grads = module(x)[0].bfloat16(), gradients(module, x=x)
    with torch.autocast("cpu", torch.bfloat16):
        output = module(x)[0]
        found = gradients(module, lambda x: (module(x)[0].float(),), x)
    assert output.dtype == torch.bfloat16
    assert torch.equal(output, expected)
    assert all(grad.dtype == torch.float32 for grad in found)
    same(found, expected_grads, rtol=0.05, atol=0.02)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_types(name, dtype):
    module = build(name, torch.float32)
    expected = module(X.float())[0]
    module = module.to(dtype)
    output = module(X.to(dtype))[0]
    assert output.dtype == dtype
    torch.testing.assert_close(output.float(), expected, rtol=0.05, atol=0.05)
    assert all(g.dtype == dtype and g.isfinite().all() for g in gradients(module, x=X.to(dtype)))


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"bidirectional": True}], ids=str)
def test_outputs_lie_in_memory_as_torchs(options):
    for peer, name in ((nn.RNN, "SRN"), (nn.LSTM, "LSTM"), (nn.GRU, "GRU"), (nn.RNN, "CW")):
        for x in (X, X[:, 0]):
            found, last = build(name, **options)(x)
            expected, its_last = peer(3, 6, dtype=torch.float64, **options)(x)
            assert found.stride() == expected.stride()
            last, its_last = (s if isinstance(s, tuple) else (s,) for s in (last, its_last))
            assert [s.stride() for s in last] == [s.stride() for s in its_last]
            assert all(s.view(-1).shape == (s.numel(),) for s in last)


@every
def test_outputs_may_be_written_to(name):
    module = build(name)
    expected = [4 * g for g in gradients(module)]
    same(gradients(module, lambda x: (module(x)[0].mul_(2),)), expected)
    for context in (torch.no_grad(), torch.enable_grad()):
        with context:
            output, last = module(X)
            last = last[0] if isinstance(last, tuple) else last
            kept = output.clone()
            last.zero_()
            assert torch.equal(output, kept)
    output.sum().backward()


@every
def test_no_sequences(name):
    module = build(name, num_layers=2, bidirectional=True)
    output, last = module(torch.empty(5, 0, 3, dtype=torch.float64))
    assert output.shape == (5, 0, 12)
    assert all(s.shape == (4, 0, 6) for s in (last if isinstance(last, tuple) else (last,)))
    output.sum().backward()
    assert all(p.grad is not None and not p.grad.any() for p in module.parameters())
