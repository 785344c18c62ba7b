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
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from quantart.components.codebook import EmaCodebook
from quantart.components.discriminator import NLayerDiscriminator
from quantart.data.batches import PairBatch
from quantart.losses.painting import PaintingLoss
from quantart.losses.stage_1 import Stage1Loss
from quantart.models.stage_1 import ExperimentStage1
from quantart.models.stage_2 import ExperimentStage2
from quantart.training.objective import AdversarialObjective, Objective
from quantart.training.painting_objective import PaintingObjective
from quantart.training.stage1_objective import Stage1Objective
from quantart.vocabulary.painting import PAINTING_WEIGHTS

STEPS = {"batch norm": 20, "actnorm": 20, "painting": 4}
"""Few where the gradient passes through codes: a rounding that moves a latent to another code shows later."""
DDCONFIG = {
    "ch": 8,
    "ch_mult": [1, 2],
    "num_res_blocks": 1,
    "attn_resolutions": [],
    "resolution": 16,
    "z_channels": 6,
}


def make_stage_1(use_actnorm: bool) -> Stage1Objective:
    """k-means at the second step, the discriminator from the third on."""
    model = ExperimentStage1(DDCONFIG, n_embed=16, embed_dim=8)
    loss = Stage1Loss(NLayerDiscriminator(3, 4, 1, use_actnorm), None, discriminator_start=2)
    codebook = EmaCodebook(model.quantize, decay=0.5, revive_below=0.4)
    return Stage1Objective(model, loss, quantize_from=1, codebook=codebook)


def make_painting() -> PaintingObjective:
    """Quantised from the third step on."""
    vqgan = ExperimentStage1(DDCONFIG, n_embed=16, embed_dim=8)
    torch.nn.init.normal_(vqgan.quantize.embedding.weight)
    model = ExperimentStage2.from_stage1(vqgan, vqgan, transfer_network="twin", width=8, coarse_blocks=2, fine_blocks=1)
    loss = PaintingLoss(PAINTING_WEIGHTS)
    return PaintingObjective(model, loss, quantize_from=2)


def train(rank: int | None, kind: str) -> dict[str, Tensor]:
    """Some steps; `rank` None: the whole batch in one process. State, and all that is logged."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    paints = kind == "painting"
    objective: Objective = make_painting() if paints else make_stage_1(kind == "actnorm")
    objective = objective.train().double()
    parameters = {(): objective.trained_parameters()}
    if isinstance(objective, AdversarialObjective):
        parameters["discriminator",] = objective.discriminator_parameters()
    optimizers = {phase: torch.optim.Adam(part, 1e-3) for phase, part in parameters.items()}
    wrapped = objective if rank is None else DistributedDataParallel(objective, find_unused_parameters=True)
    logs: dict[str, Tensor] = {}
    for i in range(STEPS[kind]):
        torch.manual_seed(i)
        x = torch.rand(2, 4, 3, 64, 64) if paints else torch.rand(4, 3, 16, 16)
        x = x.double() * 2 - 1
        own = x if rank is None else x.chunk(2, dim=x.ndim - 4)[rank]
        batch = PairBatch(*own) if paints else own
        for phase, optimizer in optimizers.items():
            if phase and not objective.discriminator_runs(i):
                continue
            output = wrapped(batch, i, *phase)
            output.loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            logs |= {f"log {i} {name}": value.clone() for name, value in output.logs.items()}
    return objective.state_dict() | logs


def work(rank: int, folder: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder / 'store'}", rank=rank, world_size=2)
    for kind in STEPS:
        torch.save(train(rank, kind), folder / f"{kind}-{rank}.pt")
    dist.destroy_process_group()


def test_two_processes_equal_one_with_the_joint_batch(tmp_path: Path) -> None:
    workers = [subprocess.Popen([sys.executable, __file__, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [worker.wait(timeout=300) for worker in workers] == [0, 0]
    for kind in STEPS:
        first, second = (torch.load(tmp_path / f"{kind}-{rank}.pt", weights_only=True) for rank in range(2))
        joint = train(None, kind)
        assert any("running_var" in name for name in joint) == (kind != "actnorm")
        assert any(name.endswith("adversarial_weight") for name in joint) == (kind != "painting")
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
