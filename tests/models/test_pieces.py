"""Sequences in pieces: where the clock stands when a call begins."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN, Stream
from tests.models.test_layers import as_tuple, layer

BACKENDS = ["auto", "reference", "cascade", "compiled"]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "batch_first": True}], ids=str)
def test_pieces_with_their_start_are_the_whole(backend, options):
    module = layer(**options)
    module.backend = backend
    x = torch.randn(3, 20, 3, dtype=torch.float64)
    x = x if module.batch_first else x.transpose(0, 1)
    steps = 1 if module.batch_first else 0
    whole, last = module(x)
    for sizes in ([7, 13], [1] * 20):
        hx, start, outputs = None, 0, []
        for piece in x.split(sizes, steps):
            output, hx = module(piece, hx, start=start)
            start += piece.shape[steps]
            outputs.append(output)
        torch.testing.assert_close(torch.cat(outputs, steps), whole)
        torch.testing.assert_close(hx, last)
    begun, _ = module(x, start=1)
    assert not torch.allclose(begun, whole)


@pytest.mark.parametrize("backend", BACKENDS)
def test_each_sequence_may_have_a_start_of_its_own(backend):
    module = layer()
    module.backend = backend
    x = torch.randn(9, 4, 3, dtype=torch.float64, requires_grad=True)
    starts = [5, 0, 3, 5 + 8 * 3 * 1000003]  # the last as the first: the clock goes round in 24
    hx = torch.randn(1, 4, 10, dtype=torch.float64)
    y, h = module(x, hx, torch.tensor(starts))
    torch.testing.assert_close(y, module(x, hx, starts)[0])
    for i, start in enumerate(starts):
        alone, last = module(x[:, i], hx[:, i], start)
        torch.testing.assert_close(y[:, i], alone)
        torch.testing.assert_close(h[:, i], last)
        (mine,) = torch.autograd.grad(y[:, i].square().sum(), x, retain_graph=True)
        (theirs,) = torch.autograd.grad(alone.square().sum(), x)
        torch.testing.assert_close(mine, theirs)


def test_packed_sequences_keep_their_starts_in_the_callers_order():
    module = layer()
    sequences = [torch.randn(k, 3, dtype=torch.float64) for k in (4, 9, 1)]
    packed, last = module(pack_sequence(sequences, enforce_sorted=False), None, [2, 7, 1])
    outputs, _ = pad_packed_sequence(packed)
    for i, (sequence, start) in enumerate(zip(sequences, [2, 7, 1], strict=True)):
        alone, final = module(sequence, None, start)
        torch.testing.assert_close(outputs[: len(sequence), i], alone)
        torch.testing.assert_close(last[:, i], final)


@pytest.mark.parametrize("cls", [ClockworkRNN, SRN, LSTM, GRU])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_stream_carries_state_and_step(cls, batch_first):
    module = layer(cls, batch_first=batch_first)
    x = torch.randn(2, 11, 3, dtype=torch.float64)
    x = x if batch_first else x.transpose(0, 1)
    whole, _ = module(x)
    stream = Stream(module)
    for _ in range(2):
        steps = 1 if batch_first else 0
        pieces = [stream(piece) for piece in x.split([4, 1, 6], steps)]
        torch.testing.assert_close(torch.cat(pieces, steps), whole)
        stream.detach()
        assert stream.step == 11 and all(s.grad_fn is None for s in as_tuple(stream.hx))
        stream.reset()
    with pytest.raises(ValueError, match="needs whole sequences"):
        Stream(layer(cls, bidirectional=True))
    stream.detach()
    assert stream.hx is None


def test_the_longest_periods_agree_between_backends():
    clock = {"periods": [1, 2**31 - 1, 2**31], "module_sizes": [4, 3, 3]}
    module = layer(**clock)
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    for start in (0, 2**31 - 3):
        results = []
        for backend in BACKENDS:
            module.backend = backend
            results.append(module(x, None, start)[0])
        for found in results[1:]:
            torch.testing.assert_close(found, results[0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_starts_of_no_sequences_and_of_long_rounds(backend):
    module = layer()
    module.backend = backend
    nothing = torch.empty(4, 0, 3, dtype=torch.float64)
    assert module(nothing, None, torch.empty(0, dtype=torch.int64))[0].shape == (4, 0, 10)
    primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59]  # 1.9e21 steps
    module = ClockworkRNN(3, 17, periods=primes, dtype=torch.float64)
    module.backend = backend
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    starts = [2**61 + 1, 59 * 53]
    found, _ = module(x, None, starts)
    for i, start in enumerate(starts):
        torch.testing.assert_close(found[:, i], module(x[:, i], None, start)[0])


def test_many_starts_are_each_as_alone():
    module = layer()
    x = torch.randn(9, 30, 3, dtype=torch.float64)
    found, _ = module(x, None, list(range(30)))
    for i in range(30):
        torch.testing.assert_close(found[:, i], module(x[:, i], None, i)[0])


def test_a_bidirectional_layer_may_be_told_that_it_starts_at_0():
    module = layer(bidirectional=True)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    assert torch.equal(module(x, None, [0, 0])[0], module(x)[0])
    for start in (2**62, torch.tensor([0, 2**62])):
        with pytest.raises(ValueError, match=r"below 2\*\*62"):
            layer()(x, None, start)


def test_a_stream_that_refused_a_piece_goes_on():
    stream = Stream(layer())
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    stream(x[:2])
    for wrong in (pack_sequence([x[:2, 0]]), x[:, :, :2], None):
        with pytest.raises((TypeError, RuntimeError)):
            stream(wrong)
    torch.testing.assert_close(stream(x[2:]), stream.layer(x)[0][2:])
