"""What processes do with the layers that they are given; of test_processes.py."""

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

COUNT = 2
STEPS = 10
X = torch.linspace(-1, 1, 5 * 2 * COUNT * 3, dtype=torch.float64).view(5, 2 * COUNT, 3).sin()


def learn(layer, x, steps=1):
    """By SGD; the last loss."""
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (layer(x)[0] - 0.3).square().mean()
        loss.backward()
        optimizer.step()
    return loss.item()


def work(rank, folder, shared, to_shard):
    """One process: what a layer that was sent gives; Hogwild; FSDP2 of the others."""
    torch.set_num_threads(1)
    with torch.no_grad():
        sent = [layer(X)[0] for layer in to_shard]
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=COUNT)
    learn(shared, X, STEPS)
    mesh = init_device_mesh("cpu", (COUNT,))
    trained = []
    for layer in to_shard:
        fully_shard(layer, mesh=mesh)
        learn(layer, X[:, 2 * rank : 2 * rank + 2])
        assert all(type(p).__name__ == "DTensor" for p in layer.parameters())
        options = StateDictOptions(full_state_dict=True, cpu_offload=True)
        trained.append(get_model_state_dict(layer, options=options))
    torch.save({"sent": sent, "trained": trained}, folder / f"of-{rank}.pt")
    dist.destroy_process_group()
