"""Two processes, each with half of a batch, train the network that one process with the whole batch trains.

In float64: what is not the joint batch's shows, and rounding does not. In float32 roundings grow to some percent of the
losses within these steps.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from quantart.components.codebook import EmaCodebook
from quantart.components.discriminator import NLayerDiscriminator
from quantart.losses.stage_1 import Stage1Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.training.stage1_objective import Stage1Objective

STEPS = 20
DDCONFIG = {
    "ch": 8,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "resolution": 16,
    "z_channels": 6,
}


def train(rank: int | None, use_actnorm: bool) -> dict[str, torch.Tensor]:
    """Some steps, k-means at the second; `rank` None: the whole batch in one process. State, and all that is logged."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = ExperimentStage1(DDCONFIG, n_embed=16, embed_dim=8)
    loss = Stage1Loss(NLayerDiscriminator(3, 4, 1, use_actnorm), None, discriminator_start=2)
    codebook = EmaCodebook(model.quantize, decay=0.5, revive_below=0.4)
    objective = Stage1Objective(model, loss, quantize_from=1, codebook=codebook).train().double()
    optimizers = {
        "generator": torch.optim.Adam(objective.generator_parameters(), 1e-3),
        "discriminator": torch.optim.Adam(objective.discriminator_parameters(), 1e-3),
    }
    wrapped = objective if rank is None else DistributedDataParallel(objective, find_unused_parameters=True)
    logs: dict[str, torch.Tensor] = {}
    for i in range(STEPS):
        x = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(i)).double() * 2 - 1
        for phase, optimizer in optimizers.items():
            if phase == "discriminator" and not objective.discriminator_runs(i):
                continue
            output = wrapped(x if rank is None else x.chunk(2)[rank], phase, i)
            output.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            logs |= {f"log {i} {name}": value.clone() for name, value in output.logs.items()}
    return objective.state_dict() | logs


def work(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    for use_actnorm in (False, True):
        torch.save(train(rank, use_actnorm), folder / f"{use_actnorm}-{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one_with_the_joint_batch(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    for use_actnorm in (False, True):
        first, second = (torch.load(tmp_path / f"{use_actnorm}-{rank}.pt", weights_only=True) for rank in range(2))
        joint = train(None, use_actnorm)
        assert any("running_var" in name for name in joint) != use_actnorm
        assert any(name.endswith("adversarial_weight") for name in joint)
        for name, value in joint.items():
            if name.startswith("log "):
                assert torch.allclose(
                    (first[name].double() + second[name]) / 2, value.double(), rtol=1e-8, atol=1e-9
                ), name
            else:
                assert torch.equal(first[name], second[name]), name
                assert torch.allclose(first[name], value, rtol=1e-8, atol=1e-8), name


if __name__ == "__main__":
    work(int(sys.argv[1]), Path(sys.argv[2]))
