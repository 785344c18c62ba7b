from __future__ import annotations

import torch

from quantart.components.style_transfer import StyleTransferModule, adain


def test_style_may_have_another_size_and_matters() -> None:
    network = StyleTransferModule(8, block_num=2)
    content = torch.randn(2, 8, 4, 4)
    one, other = (network(content, torch.randn(2, 8, 6, 3)) for _ in range(2))
    assert one.shape == content.shape
    assert not torch.allclose(one, other)


def test_without_style_the_cross_attention_is_left_out() -> None:
    network = StyleTransferModule(8, block_num=1)
    content, style = torch.randn(1, 8, 4, 4), torch.randn(1, 8, 4, 4)
    before = network(content, None)
    torch.nn.init.zeros_(network.blocks[0].attn_block.proj_out.weight)
    torch.nn.init.zeros_(network.blocks[0].attn_block.proj_out.bias)
    assert torch.equal(network(content, style), before)


def test_switches_leave_parts_out() -> None:
    def parts(**options: bool) -> set[str]:
        return {name.split(".")[2] for name in StyleTransferModule(8, 2, **options).state_dict()}

    assert parts() == {"res_block", "self_attn_block", "attn_block"}
    assert parts(use_conv=False) == {"self_attn_block", "attn_block"}
    assert parts(use_selfatt=False) == {"res_block", "attn_block"}


def test_adain_gives_the_content_the_styles_means_and_deviations() -> None:
    torch.manual_seed(0)
    content, style = torch.randn(2, 8, 6, 6), 3.0 * torch.randn(2, 8, 4, 5) + 1.0
    output = adain(content, style)
    assert torch.allclose(output.mean((2, 3)), style.mean((2, 3)), atol=1e-5)
    assert torch.allclose(output.std((2, 3), correction=0), style.std((2, 3), correction=0), atol=1e-5)
    assert adain(torch.ones(1, 8, 2, 2), style[:1]).isfinite().all()
