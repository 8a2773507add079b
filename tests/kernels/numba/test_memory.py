import gc

import torch

from cwrnn_cli.kernels.numba import memory

LIKE = torch.empty(0)
SHAPE = (3, 100_001)


def address(tensor):
    return tensor.untyped_storage().data_ptr()


def test_a_dead_buffer_is_used_again_and_a_living_one_never():
    first = memory.empty(SHAPE, LIKE)
    assert first.shape == SHAPE and first.dtype == torch.float32 and first.data_ptr() % 64 == 0
    second = memory.empty(SHAPE, LIKE)
    assert address(first) != address(second)
    view, place = first[1:, ::2], address(first)
    del first
    third = memory.empty(SHAPE, LIKE)  # the first still lives, in its view
    assert len({place, address(second), address(third)}) == 3
    del view
    gc.collect()
    assert address(memory.empty(SHAPE, LIKE)) == place


def test_what_autograd_keeps_is_not_given_away():
    x = memory.empty(SHAPE, LIKE).fill_(2.0).requires_grad_()
    y = (memory.empty(SHAPE, LIKE).fill_(3.0) * x).sum()
    others = [memory.empty(SHAPE, LIKE).fill_(7.0) for _ in range(3)]
    y.backward()
    assert (x.grad == 3).all() and len(others) == 3


def test_unused_buffers_are_bounded(monkeypatch):
    memory.release()  # what other tests left, so that the request below needs a new buffer
    monkeypatch.setattr(memory, "KEEP", 3_000_000)
    kept = [memory.empty((count,), LIKE) for count in range(300_000, 900_000, 100_000)]
    assert len(memory._buffers) >= 6
    del kept
    memory.empty((5_000_000,), LIKE)
    count = len(memory._buffers) - 1  # the last is the new one; others may live in other tests
    unused = sum(memory._buffers[i].nbytes for i in range(count) if memory._is_free(i))
    assert unused <= 3_000_000


def test_small_ones_and_other_precisions():
    assert memory.empty((2, 3), LIKE).shape == (2, 3)
    double = memory.empty((70_000,), torch.empty(0, dtype=torch.float64))
    assert double.dtype == torch.float64 and double.fill_(1.0).sum() == 70_000


def test_what_is_borrowed_is_the_same_memory_and_can_be_resized_later():
    tensor = torch.arange(6.0).reshape(2, 3)
    array = memory.borrowed(tensor)
    array[4] = -1
    assert tensor.flatten().tolist() == [0, 1, 2, 3, -1, 5] == array.tolist()
    assert memory.borrowed(tensor[:0]).size == 0
    storage = tensor.untyped_storage()
    del array
    storage.resize_(0)  # torch refuses that after tensor.numpy()
