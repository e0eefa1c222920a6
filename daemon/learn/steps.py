"""One optimiser over the weights that train, with the held rows beside every step. What the loss is, is its caller's."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from daemon.learn.errors import NotFinite
from daemon.learn.models import Base, trainable
from daemon.learn.optimisers import optimiser_of
from daemon.learn.train import HOLD, Target, TrainPlan, loss_of, visits


class Descent:
    """The plan's optimiser and schedule over `steps`, clipping, replay: each step adds the plan's weight times KL(base || student) on held rows."""

    def __init__(self, base: Base, replay: Sequence[Target], plan: TrainPlan, steps: int) -> None:
        self._base, self._plan, self._steps = base, plan, steps
        self._parameters = trainable(base)
        self._optimiser = optimiser_of(plan.optimiser, self._parameters, lr=plan.learning_rate)
        self._held = visits(replay, plan.replay_batch, plan.seed + 1) if replay and plan.replay_weight else None
        self._taken = 0
        self.replay_loss = 0.0

    def step(self, loss: Tensor) -> None:
        for group in self._optimiser.param_groups:
            group["lr"] = self._plan.lr_at(self._taken, self._steps)
        self._taken += 1
        if self._held is not None:
            held = loss_of(self._base, next(self._held), HOLD)
            self.replay_loss = held.item()
            loss = loss + self._plan.replay_weight * held
        if not math.isfinite(loss.item()):
            raise NotFinite(f"The loss is {loss.item()} at step {self._taken} of {self._steps}.")
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._parameters, self._plan.clip)
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
