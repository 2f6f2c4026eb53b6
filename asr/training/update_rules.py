"""Update rules that torch lacks, or has with other formulas: as textbooks write them.

`eps` is the learning rate of the update, `g` the gradient, `v` the velocity, which begins at zero.

    momentum    v <- a v - eps g;                   w <- w + v
    Adagrad     r <- r + g^2;                       w <- w - eps g / (delta + sqrt(r))
    RMSProp     r <- rho r + (1 - rho) g^2;         w <- w - eps g / sqrt(delta + r)

With Nesterov's momentum the gradient is that at `w + a v`. So this point is what is stored as the
weights: from one to the next it moves by `-eps g + a v` with the new `v`, which is the same path.

torch keeps the velocity without the learning rate (`b <- a b + g; w <- w - eps b`). That is the
same path as long as the rate is constant: when it changes, what torch has gathered is rescaled at
once, and here it keeps the rate with which it was gathered. torch's RMSProp has the constant
outside the root, and so divides by less where gradients are small.

References: J. Duchi, E. Hazan, Y. Singer. Adaptive subgradient methods. 2011. I. Goodfellow,
Y. Bengio, A. Courville. Deep Learning. 2016, algorithms 8.2 to 8.6. A. Graves. Generating sequences
with recurrent neural networks. 2013, section 4.2 (momentum).
"""

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

Groups = Iterable[dict[str, Any]] | Iterable[nn.Parameter]


class UpdateRule(torch.optim.Optimizer):
    """A rule for each parameter by itself, whose state is tensors like the parameter."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self.update(parameter, parameter.grad, group)

    @abstractmethod
    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Move one parameter, by its gradient and the settings of its group."""

    def kept(self, parameter: Tensor, name: str) -> Tensor:
        """What is kept of a parameter from update to update: zeros at first."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        tensor: Tensor = state[name]
        return tensor

    def move(self, parameter: Tensor, step: Tensor, group: dict[str, Any]) -> None:
        """Go `step` with the momentum of the group, if it has any."""
        momentum = group["momentum"]
        if momentum == 0:
            parameter.add_(step)
            return
        velocity = self.kept(parameter, "velocity").mul_(momentum).add_(step)
        if group["nesterov"]:
            parameter.add_(step).add_(velocity, alpha=momentum)
        else:
            parameter.add_(velocity)


class TextbookSGD(UpdateRule):
    """Stochastic gradient descent whose velocity has the learning rates of its own updates."""

    def __init__(
        self,
        parameters: Groups,
        *,
        lr: float,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        """Keep the settings; `weight_decay * w` is added to the gradient, as torch's SGD does."""
        defaults = {
            "lr": lr, "momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay,
        }  # fmt: skip
        super().__init__(parameters, defaults)

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """See the formulas of the module."""
        if group["weight_decay"]:
            gradient = gradient.add(parameter, alpha=group["weight_decay"])
        self.move(parameter, -group["lr"] * gradient, group)


class Adagrad(UpdateRule):
    """Smaller steps where the sum of all squared gradients so far is larger."""

    def __init__(self, parameters: Groups, *, lr: float, epsilon: float) -> None:
        super().__init__(parameters, {"lr": lr, "epsilon": epsilon})

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """See the formulas of the module; `delta` is `epsilon`."""
        squares = self.kept(parameter, "squares").addcmul_(gradient, gradient)
        parameter.addcdiv_(gradient, squares.sqrt().add_(group["epsilon"]), value=-group["lr"])


class RMSProp(UpdateRule):
    """Smaller steps where the running mean of the squared gradients is larger."""

    def __init__(
        self,
        parameters: Groups,
        *,
        lr: float,
        decay: float,
        epsilon: float,
        momentum: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "decay": decay, "epsilon": epsilon, "momentum": momentum,
            "nesterov": nesterov,
        }  # fmt: skip
        super().__init__(parameters, defaults)

    def update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """See the formulas of the module; `rho` is `decay`, `delta` is `epsilon`."""
        decay = group["decay"]
        squares = self.kept(parameter, "squares").mul_(decay)
        squares.addcmul_(gradient, gradient, value=1 - decay)
        scaled = gradient / (squares + group["epsilon"]).sqrt_()
        self.move(parameter, -group["lr"] * scaled, group)
