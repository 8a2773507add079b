import torch

from cwrnn_cli.kernels.sequences import last_valid

SEQUENCES = torch.arange(2 * 3 * 5 * 4.0).view(2, 3, 5, 4)  # (R, B, T, n)


def test_without_lengths_it_is_the_last_step():
    assert torch.equal(last_valid(SEQUENCES, None), SEQUENCES[:, :, 4])


def test_lengths_of_all_networks_at_once():
    found = last_valid(SEQUENCES, torch.tensor([1, 5, 3]))
    assert torch.equal(found, torch.stack([SEQUENCES[:, b, t] for b, t in enumerate((0, 4, 2))], 1))


def test_lengths_of_each_network():
    lengths = torch.tensor([[1, 5, 3], [2, 4, 1]])
    found = last_valid(SEQUENCES, lengths)
    assert found.shape == (2, 3, 4)
    for r in range(2):
        for b in range(3):
            assert torch.equal(found[r, b], SEQUENCES[r, b, lengths[r, b] - 1])


def test_the_gradient_comes_from_there_only():
    sequences = SEQUENCES.clone().requires_grad_()
    last_valid(sequences, torch.tensor([[1, 5, 3], [2, 4, 1]])).sum().backward()
    assert sequences.grad[1, 0].sum(dim=1).tolist() == [0, 4, 0, 0, 0]
    assert sequences.grad.sum() == 2 * 3 * 4
