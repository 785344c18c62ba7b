from __future__ import annotations

import torch

from quantart.models.stage_1 import ExperimentStage1
from quantart.pipeline.stage1_task import make_model
from quantart.project import Project


def test_only_a_new_networks_first_weights_answer_more_to_colour(prepared_project: Project, tmp_path) -> None:
    params = prepared_project.params()
    made = {}
    for gain in (1.0, 3.0):
        torch.manual_seed(0)
        given = params.model_copy(update={"stage1": params.stage1.model_copy(update={"colour_gain": gain})})
        made[gain] = make_model(given, None)
    differing = [
        name for name, value in made[1.0].state_dict().items() if not torch.equal(value, made[3.0].state_dict()[name])
    ]
    assert differing == ["encoder.conv_in.weight"]
    green = torch.tensor([1.0, -2.0, 1.0]).view(3, 1, 1)
    answers = [(model.encoder.conv_in.weight * green).sum(1) for model in made.values()]
    torch.testing.assert_close(answers[1], 9 * answers[0])
    made[1.0].save_pretrained(tmp_path)
    again: ExperimentStage1 = make_model(given, tmp_path)
    assert torch.equal(again.encoder.conv_in.weight, made[1.0].encoder.conv_in.weight)
