from __future__ import annotations

from typing import Any

import torch

from quantart.components.autoencoder import Decoder, Encoder

SHAPE: dict[str, Any] = {
    "ch": 8,
    "ch_mult": [1, 2, 4],
    "num_res_blocks": 2,
    "attn_resolutions": [16],
    "resolution": 32,
    "z_channels": 6,
}


def test_encoder_halves_at_every_level_but_the_last() -> None:
    assert Encoder(**SHAPE)(torch.zeros(2, 3, 32, 48)).shape == (2, 6, 8, 12)
    assert Encoder(**SHAPE, double_z=True)(torch.zeros(1, 3, 16, 16)).shape == (1, 12, 4, 4)


def test_decoder_undoes_the_encoders_sizes() -> None:
    assert Decoder(**SHAPE)(torch.zeros(2, 6, 8, 12)).shape == (2, 3, 32, 48)


def test_attention_follows_every_block_at_its_resolution_alone() -> None:
    encoder, decoder = Encoder(**SHAPE).state_dict(), Decoder(**SHAPE).state_dict()
    assert attention_blocks(encoder, "down") == {"down.1.attn.0", "down.1.attn.1"}
    # the decoder has one block more per level
    assert attention_blocks(decoder, "up") == {"up.1.attn.0", "up.1.attn.1", "up.1.attn.2"}


def test_attention_of_a_resolution_that_does_not_halve_evenly_is_placed_as_the_reference_does() -> None:
    # the encoder's sides are 30, 15, 7, the decoder's 28, 14, 7
    shape = SHAPE | {"resolution": 30, "attn_resolutions": [15, 28], "num_res_blocks": 1}
    assert attention_blocks(Encoder(**shape).state_dict(), "down") == {"down.1.attn.0"}
    assert attention_blocks(Decoder(**shape).state_dict(), "up") == {"up.0.attn.0", "up.0.attn.1"}


def attention_blocks(state: dict[str, torch.Tensor], part: str) -> set[str]:
    return {".".join(name.split(".")[:4]) for name in state if name.startswith(part) and ".attn." in name}
