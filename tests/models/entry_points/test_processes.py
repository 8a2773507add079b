"""Layers in several processes."""

import copy

import pytest
import torch
import torch._dynamo.testing
import torch.nn.utils.prune
import torch.utils.checkpoint
from torch import multiprocessing

from tests.models.entry_points import processes
from tests.models.entry_points.common import build, forbidden, same


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    """Two processes get layers and work: the layers as here, and what the processes say."""
    folder = tmp_path_factory.mktemp("processes")
    shared = build("CW").share_memory()
    to_shard = [build("CW", num_layers=2), build("LSTM", peepholes=False)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        multiprocessing.spawn(processes.work, (folder, shared, to_shard), nprocs=processes.COUNT)
    said = [torch.load(folder / f"of-{rank}.pt") for rank in range(processes.COUNT)]
    return shared, to_shard, said


def test_a_layer_is_sent_to_a_process(two_processes):
    _, layers, said = two_processes
    for one in said:
        same(one["sent"], [layer(processes.X)[0] for layer in layers])


def test_hogwild(two_processes):
    """Two processes train one layer's shared weights."""
    shared, _, _ = two_processes
    assert all(parameter.is_shared() for parameter in shared.parameters())
    alone = build("CW")
    first = processes.learn(copy.deepcopy(alone), processes.X)
    assert processes.learn(shared, processes.X) < first
    assert not torch.equal(shared.weight_ih, alone.weight_ih) and not forbidden(shared).any()


def test_fully_sharded(two_processes):
    """FSDP2: each process has half of each weight and half of the batch."""
    _, layers, said = two_processes
    for i, layer in enumerate(layers):
        alone = copy.deepcopy(layer)
        processes.learn(alone, processes.X)
        expected = alone.state_dict()
        found = said[0]["trained"][i]
        assert found.keys() == expected.keys()
        same(found.values(), expected.values())
        layer.load_state_dict(found)
