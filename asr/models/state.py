"""Named tensors into a network: all of them fit, or none is copied."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from asr.errors import ModelError, shown
from asr.storage import load_tensors


def load_weights(model: nn.Module, path: Path) -> None:
    """Copy the tensors of a safetensors file into the model: same names, shapes and types.

    Raises:
        ModelError: a tensor is missing, too many, or of another shape or type.
    """
    load_state(model, load_tensors(path), shown(path))


def load_state(model: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Copy named tensors into the model; `source` names them in errors.

    Raises:
        ModelError: a tensor is missing, too many, or of another shape or type.
    """
    own = model.state_dict()
    problems = [f"lacks {name}" for name in own if name not in tensors]
    problems += [f"has {name}, which the model lacks" for name in tensors if name not in own]
    for name in own.keys() & tensors.keys():
        have, need = tensors[name], own[name]
        if have.shape != need.shape or have.dtype != need.dtype:
            problems.append(
                f"{name} is {tuple(have.shape)} {have.dtype}, the model needs "
                f"{tuple(need.shape)} {need.dtype}"
            )
    if problems:
        listed = "; ".join(sorted(problems)[:5])
        raise ModelError(f"{source}: does not fit the model ({len(problems)} problems): {listed}")
    model.load_state_dict(dict(tensors))
