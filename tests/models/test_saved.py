"""Weights in files and in other hands: the mask and the clock go with them."""

import copy
import io

import pytest
import torch

from cwrnn_cli.models import SRN, ClockworkRNN
from tests.models.test_layers import LAYERS, forbidden, layer


def test_trespassing_weights_are_never_computed_with_nor_saved():
    module = layer()
    x = torch.randn(12, 2, 3, dtype=torch.float64)
    expected, _ = module(x)
    with torch.no_grad():
        module.weight_hh += 7.0 * torch.from_numpy(~module.clock.mask())
    dense = {name: weight.detach().clone() for name, weight in module.named_parameters()}
    mask = torch.from_numpy(module.clock.mask())
    saved = module.state_dict()["weight_hh"]
    assert not saved[~mask].any() and torch.equal(saved[mask], module.weight_hh[mask])
    assert forbidden(module).all(), "the parameter itself is its owner's"
    other = layer()
    other.load_state_dict(dense)
    assert not forbidden(other).any()
    torch.testing.assert_close(other(x)[0], expected)
    with torch.no_grad():
        module.weight_hh[~torch.from_numpy(module.clock.mask())] = float("nan")
    torch.testing.assert_close(module(x)[0], expected)


@pytest.mark.parametrize(("cls", "options"), [*LAYERS, (ClockworkRNN, {"inputs": 0})])
def test_saving_copying_and_moving(cls, options, tmp_path):
    module = layer(cls, bidirectional=True, **options)
    x = torch.randn(6, 2, module.input_size, dtype=torch.float64)
    expected, _ = module(x)
    torch.save(module.state_dict(), tmp_path / "weights.pt")
    other = layer(cls, bidirectional=True, **options)
    other.reset_parameters()
    assert not torch.equal(other(x)[0], expected)
    loaded = other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert not loaded.missing_keys and not loaded.unexpected_keys
    assert torch.equal(other(x)[0], expected)
    assert torch.equal(copy.deepcopy(module)(x)[0], expected)
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x)[0], expected)
    single = copy.deepcopy(module).to(torch.device("cpu"), torch.float32)
    torch.testing.assert_close(single(x.float())[0].double(), expected, rtol=1e-4, atol=1e-5)
    assert all(weight.dtype == torch.float32 for weight in single.parameters())


def test_the_clock_is_saved_and_another_one_is_refused():
    module = layer()
    with pytest.raises(RuntimeError, match="no tensor of clocks, but list"):
        module.load_state_dict(module.state_dict() | {"_extra_state": [1, 2]})
    for other, told in (
        (layer(periods=[1, 2, 3, 9]), r"periods \[1, 2, 3, 9\] with \[3, 1, 2, 4\] units"),
        (layer(module_sizes=[1, 3, 2, 4]), r"periods \[1, 2, 3, 8\] with \[1, 3, 2, 4\] units"),
        (layer(SRN), r"periods \[1\] with \[10\] units"),
    ):
        before = {name: weight.clone() for name, weight in other.named_parameters()}
        with pytest.raises(RuntimeError, match=r"periods \[1, 2, 3, 8\] .* has " + told):
            torch.nn.Sequential(other).load_state_dict(torch.nn.Sequential(module).state_dict())
        assert all(torch.equal(weight, before[n]) for n, weight in other.named_parameters())
    old = {name: weight for name, weight in module.state_dict().items() if name[0] != "_"}
    assert not layer().load_state_dict(old).missing_keys


def test_no_buffer_stands_between_the_weights_and_what_they_do():
    source = ClockworkRNN(13, 40)
    x = torch.randn(5, 2, 13)
    expected, _ = source(x)
    skipped = torch.nn.utils.skip_init(ClockworkRNN, 13, 40)
    empty = ClockworkRNN(13, 40, device="meta").to_empty(device="cpu")
    with torch.device("meta"):
        assigned = ClockworkRNN(13, 40)
    assert not list(source.buffers()) and assigned.weight_hh.is_meta
    assert assigned(x.to("meta"))[0].shape == (5, 2, 40)
    for module in (skipped, empty):
        torch.nn.init.constant_(module.weight_hh, float("nan"))  # whatever lay there
        module.load_state_dict(source.state_dict())
        assert torch.equal(module(x)[0], expected)
    assigned.load_state_dict(source.state_dict(), assign=True)
    assert torch.equal(assigned(x)[0], expected)


def test_tensors_of_the_caller_are_left_alone():
    module = layer()
    given = {name: torch.ones_like(weight) for name, weight in module.named_parameters()}
    torch.func.functional_call(module, given, (torch.randn(4, 1, 3, dtype=torch.float64),))
    fresh = layer()
    fresh.load_state_dict(given)
    assert not forbidden(fresh).any()
    assert all(weight.eq(1).all() for weight in given.values())


def test_another_width_is_no_other_clock():
    with pytest.raises(RuntimeError, match="size mismatch for weight_hh") as error:
        ClockworkRNN(3, 13, periods=[1, 2]).load_state_dict(
            ClockworkRNN(3, 12, periods=[1, 2]).state_dict()
        )
    assert "clock" not in str(error.value)
