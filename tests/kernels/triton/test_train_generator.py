import pytest
import torch

pytest.importorskip("triton", reason="torch brings Triton on Linux only")

from cwrnn_cli.kernels.triton.resources import resources
from cwrnn_cli.kernels.triton.train_generator import (
    WARPS,
    clockwork_networks,
    lstm_networks,
    variants,
)


def clockwork_of(units):
    return clockwork_networks(torch.ones(units, dtype=torch.int64), torch.zeros(units).long())


@pytest.mark.parametrize("networks", [clockwork_of(40), lstm_networks(7, True, 0)])
def test_every_weight_has_a_place_of_its_own(networks):
    assert len(set(networks.places.tolist())) == len(networks.places)
    assert networks.places.min() >= 0 and networks.places.max() < networks.numbers


def test_a_unit_more_is_for_the_readout():
    assert [clockwork_of(units).width for units in (1, 15, 16, 31, 40, 63)] == [
        *(16, 16, 32, 32, 64, 64)
    ]
    assert [lstm_networks(cells, True, 0).width for cells in (4, 15, 16, 31)] == [16, 16, 32, 32]
    assert clockwork_of(64) is None and lstm_networks(32, True, 0) is None


def test_weights_that_the_clock_forbids_are_not_used():
    networks = clockwork_networks(torch.tensor([1, 1, 2]), torch.zeros(3).long())
    assert networks.used[:9].tolist() == [True] * 6 + [False, False, True]
    assert networks.used[9:].all()


def test_periods_beyond_32_bits_never_tick_again():
    networks = clockwork_networks(torch.tensor([1, 1 << 31]), torch.tensor([0, (1 << 31) - 1]))
    assert networks.clock["periods"].tolist() == [1, 1 << 30]
    assert networks.clock["firsts"].tolist() == [0, (1 << 30) - 1]


def test_what_is_launched_is_what_is_compiled_here():
    found = variants()
    assert {(v.function, v.width + 1, v.warps) for v in found} == {
        (kernel, width, warps) for kernel, of in WARPS.items() for width, warps in of.items()
    }
    for variant in found:
        for parameter in variant.function.params:
            known = parameter.name in variant.constants
            assert parameter.is_constexpr == known
            assert known or parameter.do_not_specialize
            assert known or parameter.do_not_specialize_on_alignment


@pytest.mark.parametrize(("kernel", "width"), [("clockwork_epochs", 63), ("lstm_epochs", 15)])
def test_all_numbers_are_in_registers(kernel, width):
    variant = next(v for v in variants() if kernel in v.kernel and v.width == width)
    found = resources(variant, 90)
    assert found.stack == found.spills == 0
    assert found.registers < 255
