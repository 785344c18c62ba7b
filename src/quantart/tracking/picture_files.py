"""Pictures of a run as files with the names by which MLflow's page finds them, as `MlflowClient.log_image` makes them.

Written here, since that method names them anew each time: a picture sent twice would be there twice.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

PICTURES = "images"
PICTURES_TAG = "mlflow.loggedImages"
_THUMBNAIL = 256


def now() -> int:
    """In ms, as MLflow counts."""
    return int(time.time() * 1000)


def begin_of_name(key: str, step: int) -> str:
    """What the names of all pictures of this key and step begin with."""
    return f"{key.replace('/', '~')}+step+{step}+"


def write_picture(folder: Path, key: str, array: np.ndarray, step: int) -> None:
    """Write a uint8 picture `(h, w, 3)` and its thumbnail to `folder`."""
    name = f"{begin_of_name(key, step)}timestamp+{now()}+{uuid.uuid4()}"
    picture = Image.fromarray(array)
    picture.save(folder / f"{name}.png")
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    picture.save(folder / f"{name}+compressed.webp")
