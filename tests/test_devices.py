import torch

from asr.devices import choose_device


def test_float32_is_not_rounded_on_gpus() -> None:
    settings = (torch.backends.cudnn.rnn, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    for setting in settings:
        setting.fp32_precision = "tf32"
    assert choose_device("cpu") == torch.device("cpu")
    assert [setting.fp32_precision for setting in settings] == ["ieee", "ieee"]
