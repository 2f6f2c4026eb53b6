"""Images as a border and a centre: the square in the middle, half as high and half as wide."""

import torch
from torch import Tensor


def channels_first(images: Tensor) -> Tensor:
    """(B, C, H, W) of images (B, H, W) or (B, H, W, 3)."""
    return images.unsqueeze(1) if images.ndim == 3 else images.permute(0, 3, 1, 2)


def channels_last(images: Tensor) -> Tensor:
    """The inverse: (B, H, W) or (B, H, W, 3) of images (B, C, H, W)."""
    return images.squeeze(1) if images.shape[1] == 1 else images.permute(0, 2, 3, 1)


def central(maps: Tensor, side: int) -> Tensor:
    """The middle `side` x `side` of maps (B, C, H, W)."""
    edge = (maps.shape[2] - side) // 2
    return maps[:, :, edge : edge + side, edge : edge + side]


def pasted(centre: Tensor, whole: Tensor) -> Tensor:
    """`whole` (B, C, H, W) with `centre` (B, C, h, h) in its middle."""
    side = centre.shape[2]
    edge = (whole.shape[2] - side) // 2
    result = whole.clone()
    result[:, :, edge : edge + side, edge : edge + side] = centre
    return result


def with_mask(images: Tensor, *, hidden: bool) -> Tensor:
    """Images (B, C, H, W) and a further channel that is 1 where they are hidden.

    Args:
        images: the whole ones.
        hidden: whether the centre is hidden, which makes it 0; else nothing is.
    """
    mask = torch.zeros_like(images[:, :1])
    if hidden:
        side = images.shape[2] // 2
        mask = pasted(torch.ones_like(central(mask, side)), mask)
    return torch.cat([images * (1.0 - mask), mask], dim=1)
