"""Where to compute: `--device auto|cpu|cuda[:N]`."""

import re
from typing import TYPE_CHECKING

from asr.errors import ConfigError, shown

if TYPE_CHECKING:
    import torch


def choose_device(name: str) -> "torch.device":
    """The torch device of a `--device` option; `auto` is the first GPU, or else the CPU.

    float32 is float32 from then on: on a GPU torch lets cuDNN round products to 10 bits unless it
    is told not to. Who wants speed for digits asks for it, with `training.precision`.

    Raises:
        ConfigError: not one of the names, or no such GPU here.
    """
    import torch

    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ConfigError(f"--device {shown(name)}: choose auto, cpu, cuda or cuda:N")
    if name.startswith("cuda"):
        count = torch.cuda.device_count()
        index = int(name.partition(":")[2] or 0)
        if index >= count:
            raise ConfigError(f"--device {name}: {count} GPUs here; choose cpu, or auto")
    return torch.device(name)
