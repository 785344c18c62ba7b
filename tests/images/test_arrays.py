"""Pictures as arrays and tensors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import torch

from quantart.images.arrays import pixels_to_float, to_arrays, to_tensor


def test_tensors_hold_minus_one_to_one_and_come_back_exactly():
    ramp = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, 2)
    ramp[..., 1] = 7
    tensor = to_tensor([ramp, ramp[::-1]])
    assert tensor.shape == (2, 3, 16, 16)
    assert tensor.dtype == torch.float32
    assert (tensor.min().item(), tensor.max().item()) == (-1.0, 1.0)
    assert torch.allclose(tensor[:, 1], torch.tensor(7 / 127.5 - 1))
    back = to_arrays(tensor)
    assert np.array_equal(back[0], ramp)
    assert np.array_equal(back[1], ramp[::-1])
    assert to_tensor(ramp).shape == (1, 3, 16, 16)


def test_to_arrays_rounds_and_clips():
    values = torch.tensor([-3.0, -1.0, 0.4 / 127.5, 0.6 / 127.5, 1.0, 9.0]).reshape(1, 1, 1, 6).expand(1, 3, 1, 6)
    assert to_arrays(values)[0][0, :, 0].tolist() == [0, 0, 128, 128, 255, 255]
    assert to_arrays(values.bfloat16())[0].dtype == np.uint8


def test_pixels_to_float_maps_the_ends():
    assert pixels_to_float(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]


def test_importing_arrays_and_prepare_does_not_import_torch():
    code = "import sys, quantart.images.arrays, quantart.data.prepare; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
