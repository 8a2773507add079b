"""What torch has, too: its layers made ours and back, and what code written for them finds."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from cwrnn_cli.models import GRU, LSTM, SRN, ClockworkRNN
from tests.models.test_layers import as_tuple, assert_same, layer, states


@pytest.mark.parametrize(
    ("cls", "options"),
    [
        (SRN, {"num_layers": 2, "bidirectional": True}),
        (SRN, {"num_layers": 3, "nonlinearity": "relu", "batch_first": True}),
        (LSTM, {"num_layers": 2, "bidirectional": True, "bias": False}),
        (LSTM, {"num_layers": 3}),
        (GRU, {"num_layers": 2, "bidirectional": True}),
        (GRU, {"bias": False}),
    ],
    ids=str,
)
def test_from_torch_and_back(cls, options):
    """Values, gradients, packed sequences, states and repr are those of torch's layer."""
    torch.manual_seed(0)
    theirs = cls.peer(3, 10, dtype=torch.float64, **options)
    theirs.weight_hh_l0.requires_grad_(False)
    theirs.eval()
    mine = cls.from_torch(theirs)
    assert not mine.training and not mine.weight_hh.requires_grad
    x = torch.randn(5, 4, 3, dtype=torch.float64)
    count = mine.num_layers * mine.num_directions
    batch = 5 if mine.batch_first else 4
    hx = states(mine, count, batch, 10)
    packed = pack_sequence(
        [torch.randn(k, 3, dtype=torch.float64) for k in (2, 5, 1, 3, 4)[:batch]],
        enforce_sorted=False,
    )
    for other in (theirs, mine.to_torch()):
        assert type(other) is cls.peer and not other.training
        for given in ((x,), (x, hx), (packed, hx)):
            found, expected = mine(*given), other(*given)
            for a, b in zip(
                (found[0].data, *as_tuple(found[1])),
                (expected[0].data, *as_tuple(expected[1])),
                strict=True,
            ):
                torch.testing.assert_close(a, b)
    mine(x)[0].square().sum().backward()
    theirs(x)[0].square().sum().backward()
    for end, other in mine._suffix_pairs():
        for name in (
            ("weight_ih", "weight_hh", "bias") if mine.has_bias else ("weight_ih", "weight_hh")
        ):
            own = mine.get_parameter(name + end)
            its = theirs.get_parameter(name.replace("bias", "bias_ih") + other)
            assert own.requires_grad == its.requires_grad
            assert_same(
                (own.grad,) if own.requires_grad else (), (its.grad,) if its.requires_grad else ()
            )
    ours = repr(mine).replace(", nonlinearity=relu", "")  # torch's does not tell it
    assert ours == repr(theirs).replace(cls.peer.__name__, cls.__name__)


def test_what_torch_has_not_does_not_go_there():
    with pytest.raises(TypeError, match=r"takes a torch.nn.RNN, got LSTM"):
        SRN.from_torch(torch.nn.LSTM(2, 3))
    with pytest.raises(ValueError, match="projections"):
        LSTM.from_torch(torch.nn.LSTM(2, 3, proj_size=2))
    with pytest.raises(ValueError, match="peepholes"):
        LSTM(2, 3, peepholes=True).to_torch()
    with pytest.raises(ValueError, match="without input"):
        SRN(0, 3).to_torch()


@pytest.mark.parametrize("cls", [ClockworkRNN, SRN, LSTM, GRU])
def test_autocast_gives_what_torchs_layers_give(cls):
    """But for a GRU, which torch does not narrow on a CPU."""
    module = layer(cls).float()
    theirs = torch.nn.LSTM(3, 10) if cls is LSTM else torch.nn.RNN(3, 10)
    before = torch.nn.Linear(3, 3)
    x = torch.randn(5, 2, 3)
    with torch.autocast("cpu", torch.bfloat16):
        y, h = module(before(x))
        again, _ = module(before(x), h)
        expected, _ = theirs(before(x))
    assert {y.dtype, again.dtype, *(s.dtype for s in as_tuple(h))} == {expected.dtype}
    assert expected.dtype == torch.bfloat16
    y.float().sum().backward()
    assert before.weight.grad.abs().sum() > 0 and module.weight_hh.grad.dtype == torch.float32
    exact = module(before(x))[0]
    torch.testing.assert_close(y.float(), exact, rtol=0.02, atol=0.02)
    with torch.autocast("cpu", torch.bfloat16):
        for double in (module.double(), theirs.double()):
            assert double(x.double())[0].dtype == torch.float64


def test_code_written_for_torch_finds_what_it_calls():
    module = layer(num_layers=2, bidirectional=True)
    module.flatten_parameters()
    assert [len(some) for some in module.all_weights] == [3, 3, 3, 3]
    flat = [id(weight) for some in module.all_weights for weight in some]
    assert sorted(flat) == sorted(id(weight) for weight in module.parameters())
    assert module.weight_ih_l1_reverse.shape == (10, 20)


@pytest.mark.parametrize("cls", [SRN, LSTM, GRU])
def test_what_learns_there_learns_here(cls):
    theirs = cls.peer(3, 4)
    mine = cls.from_torch(theirs)
    assert all(weight.requires_grad for weight in mine.parameters())
    before = mine.bias.detach().clone()
    mine(torch.randn(4, 2, 3))[0].square().sum().backward()
    torch.optim.SGD(mine.parameters(), 0.1).step()
    assert not torch.equal(mine.bias, before)
    frozen = mine.requires_grad_(False).to_torch()
    assert not any(weight.requires_grad for weight in frozen.parameters())


@pytest.mark.parametrize("cls", [SRN, LSTM, GRU])
def test_weights_with_torchs_names_are_shown_the_way(cls):
    with pytest.raises(RuntimeError, match=rf"{cls.__name__}.from_torch\(layer\)"):
        cls(3, 4).load_state_dict(cls.peer(3, 4).state_dict())
