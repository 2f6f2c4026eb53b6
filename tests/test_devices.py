from typing import Any

import torch

from asr.devices import choose_device


def test_float32_is_not_rounded_on_gpus() -> None:
    cudnn: Any = torch.backends.cudnn
    settings = (cudnn.rnn, cudnn.conv)
    for setting in settings:
        setting.fp32_precision = "tf32"
    assert choose_device("cpu") == torch.device("cpu")
    assert [setting.fp32_precision for setting in settings] == ["ieee", "ieee"]
