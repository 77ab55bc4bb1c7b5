"""The training loop: examples in, a run folder out; killed, it goes on to the same bits.

    step -> batch_indices -> task.batch -> rows of this process -> objective -> optimiser

All that is random is a function of the seed and the step, so a checkpoint holds the parameters, the
optimiser's state and the best metric, and nothing else. Read next: `objective.py`, `processes.py`.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from mobilebert_core.checkpoints import save_checkpoint
from mobilebert_core.errors import InputError, TrainingError
from mobilebert_core.outputs import Output, map_arrays
from mobilebert_torch.params import owned_parameters, to_array
from mobilebert_torch.training.objective import Objective
from mobilebert_torch.training.optimizers import make_optimizer
from mobilebert_torch.training.processes import Processes, assign, full_array, named_state
from mobilebert_training.counting import label_counts, rows_of, split_batch
from mobilebert_training.randomness import batch_indices, generator
from mobilebert_training.run_folder import RunFolder
from mobilebert_training.schedules import learning_rate_factor
from mobilebert_training.settings import TrainingSettings
from mobilebert_training.task import Array, Task
from mobilebert_training.transfer import Stage, TransferSettings, plan_stages, stage_at

Listener = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes:
        step: the last update.
        metrics: of the best evaluation; empty without validation data.
        best_step: when it was.
        stopped_early: whether patience ended the run.
    """

    step: int
    metrics: dict[str, float]
    best_step: int
    stopped_early: bool


class Trainer:
    """Trains one model on one task.

    Args:
        model: a PyTorch model of this library, whose head is the task's.
        task: the examples.
        settings: how to train.
        folder: where the run is written; a run that is there already goes on.
        tokenizer: saved beside the model; or None.
        teacher: what the model learns from, with
        transfer: how.
        processes: of a run under torchrun.
        listeners: told every line of the log.

    Raises:
        InputError: the task is of another head, or there is nothing to train on.
        ConfigError: a batch has too few rows for the processes and their parts.
    """

    def __init__(
        self,
        model: Any,
        task: Task,
        settings: TrainingSettings,
        folder: RunFolder,
        *,
        tokenizer: Any = None,
        teacher: Any = None,
        transfer: TransferSettings | None = None,
        processes: Processes | None = None,
        listeners: Sequence[Listener] = (),
    ) -> None:
        if model.head != task.head or not len(task):
            raise InputError(
                f"The model is for {model.head}, the task for {task.head} with {len(task)} "
                "training examples; expected one head and at least one example"
            )
        self.model, self.task, self.settings, self.folder = model, task, settings, folder
        self.tokenizer, self.listeners = tokenizer, listeners
        self.processes = processes or Processes()
        self.processes.check_parts(settings.batch_size, settings.micro_batches)
        self.stages = plan_stages(transfer, settings.steps, model.config.num_hidden_layers)
        self.objective = Objective(model, teacher, transfer)
        self.processes.shard(self.objective)
        self.parameters = dict(model.named_parameters())
        self.optimizer = make_optimizer(
            settings.optimizer,
            model,
            weight_decay=settings.weight_decay,
            betas=settings.betas,
            eps=settings.eps,
        )
        self.best: dict[str, Any] = {"metrics": {}, "step": 0, "without": 0}
        self.stage_number = -1
        self.called: Any = self.objective

    def train(self) -> Result:
        """Train to the end, or until patience ends.

        Raises:
            CheckpointError: a checkpoint is damaged, or cannot be written.
            TrainingError: the loss is infinite or no number.
        """
        step = self.resume()
        stopped = self.patience_ended()
        started, first = time.perf_counter(), step
        while step < self.settings.steps and not stopped:
            self.enter_stage(step)
            row = self.update(step)
            step += 1
            last = step == self.settings.steps
            if not math.isfinite(row["loss"]) or not math.isfinite(row["gradient_norm"]):
                raise TrainingError(
                    f"The loss is {row['loss']} and its gradient's norm {row['gradient_norm']} at "
                    f"step {step}: training diverged. Take a smaller learning rate or a longer "
                    "warm-up, in a new folder"
                )
            if step % self.settings.log_every == 0 or last:
                row["steps_per_second"] = (step - first) / (time.perf_counter() - started)
                self.log(row)
            if last or _every(self.settings.evaluate_every, step):
                stopped = self.evaluate(step)
            if last or stopped or _every(self.settings.save_every, step):
                self.save(step)
        if not self.best["step"] or not self.folder.model_path.exists():
            self.save_model()
        return Result(step, self.best["metrics"], self.best["step"] or step, stopped)

    def update(self, step: int) -> dict[str, Any]:
        """One update of the parameters; what it says of itself."""
        settings, processes = self.settings, self.processes
        stage, place = self.stages[self.stage_number], stage_at(self.stages, step)[1]
        indices = batch_indices(len(self.task), settings.batch_size, step, settings.seed)
        batch = self.task.batch(indices, (settings.seed, step))
        labels = split_batch(batch, self.task.head)[1]
        counts = label_counts(labels) | {"rows": len(indices)}
        parts = np.array_split(processes.own_rows(len(indices)), settings.micro_batches)
        self.model.train()
        self.optimizer.zero_grad()
        total = 0.0
        for number, rows in enumerate(parts):
            torch.manual_seed(_seed(settings.seed, step, processes.rank, number))
            processes.synchronise(self.called, number == len(parts) - 1)
            total += self.backward(rows_of(batch, rows), counts)
        factor = learning_rate_factor(
            place, stage.steps, warmup=settings.warmup, schedule=settings.schedule
        )
        for group in self.optimizer.param_groups:
            group["lr"] = settings.learning_rate * factor
        norm = self.clip()
        self.optimizer.step()
        return {
            "step": step + 1,
            "stage": stage.name,
            "loss": processes.total(total),
            "learning_rate": settings.learning_rate * factor,
            "gradient_norm": norm,
        }

    def backward(self, part: dict[str, Array], counts: Mapping[str, int]) -> float:
        """Gradients of a part of a batch; its share of the loss."""
        inputs, labels = split_batch(part, self.task.head)
        lower = self.settings.dtype == "bfloat16"
        with torch.autocast(self.model.device.type, torch.bfloat16, enabled=lower):
            loss = self.called(inputs, labels, counts)
        (loss * self.processes.size).backward()  # gradients become the mean over processes
        return float(loss.detach())

    def clip(self) -> float:
        """Shorten the gradient; its norm before that."""
        gradients = [each.grad for each in self.parameters.values() if each.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        norm = norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        if 0 < self.settings.clip_norm < float(norm):
            torch._foreach_mul_(gradients, self.settings.clip_norm / float(norm))
        return float(norm)

    def enter_stage(self, step: int) -> None:
        """At the beginning of a stage: what learns, and an optimiser that remembers nothing."""
        number, place = stage_at(self.stages, step)
        if number == self.stage_number:
            return
        self.stage_number = number
        stage = self.objective.stage = self.stages[number]
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(_learns(name, stage))
            parameter.grad = None
        if place == 0:
            self.optimizer.state.clear()
        self.called = self.processes.wrap(self.objective)

    def run(self, batch: Mapping[str, Array]) -> Output[Array]:
        """Call the model in evaluation mode."""
        self.model.eval()
        with torch.no_grad():
            if self.processes.style == "fsdp" and self.processes.size > 1:
                output = map_arrays(self.objective(batch), to_array)
                self.objective.reshard()  # NumPy must not see what is gathered: it cannot be freed
                return output
            return map_arrays(self.model(**batch), to_array)

    def evaluate(self, step: int) -> bool:
        """Measure, keep the best model; whether patience has ended."""
        metrics = self.processes.same(self.task.evaluate(self.run))
        if not metrics:
            return False
        self.log({"step": step, "metrics": metrics})
        value, best = metrics[self.task.metric], self.best["metrics"].get(self.task.metric)
        sign = 1 if self.task.higher_is_better else -1
        if best is None or sign * value > sign * best:
            self.best = {"metrics": metrics, "step": step, "without": 0}
            self.save_model()
        else:
            counts = self.stages[self.stage_number].predicts  # while layers learn, none is better
            self.best = {**self.best, "without": self.best["without"] + counts}
        return self.patience_ended()

    def patience_ended(self) -> bool:
        """Whether so many evaluations were no better that training ends."""
        patience = self.settings.patience
        return patience is not None and self.best["without"] >= patience

    def log(self, row: Mapping[str, Any]) -> None:
        """A line of the log, written once and told to all who listen."""
        if self.processes.is_first:
            self.folder.append_log(row)
            for listener in self.listeners:
                listener(row)

    def save(self, step: int) -> None:
        """A checkpoint to go on from."""
        names = {id(each): name for name, each in self.parameters.items()}
        tensors = {f"model.{name}": each for name, each in self.parameters.items()}
        tensors |= named_state(self.optimizer, names)
        arrays = {name: full_array(each) for name, each in tensors.items()}
        if self.processes.is_first:
            self.folder.save(step, arrays, {"best": self.best})
            self.folder.thin_out(self.settings.keep)
        self.processes.wait()

    def resume(self) -> int:
        """The step of the newest checkpoint, whose values are taken; 0 without one."""
        saved = self.folder.load()
        step = saved.step if saved else 0
        if saved:
            self.best = saved.state["best"]
            for name, parameter in self.parameters.items():
                assign(parameter, saved.arrays[f"model.{name}"])
            for name, array in saved.arrays.items():
                kind, _, parameter_name = name.partition(".")
                if kind != "model":
                    parameter = self.parameters[parameter_name]
                    self.optimizer.state[parameter][kind] = torch.zeros_like(parameter)
                    assign(self.optimizer.state[parameter][kind], array)
        if self.processes.is_first:
            self.folder.cut_log(step)
        self.processes.wait()
        return step

    def save_model(self) -> None:
        """The model as a checkpoint folder, as `mobilebert.save` writes it."""
        config, head = self.model.config, self.model.head
        owned = owned_parameters(self.model, config, head)
        weights = {name: full_array(each) for name, each in owned.items()}
        if self.processes.is_first:
            extra = None if self.tokenizer is None else self.tokenizer.save_pretrained
            with self.folder.writing(f"model {self.folder.model_path}"):
                save_checkpoint(self.folder.model_path, config, weights, head, extra_files=extra)
        self.processes.wait()


def _every(interval: int, step: int) -> bool:
    return bool(interval) and step % interval == 0


def _learns(name: str, stage: Stage) -> bool:
    if stage.trained is None:
        return True
    return any(f"encoder.layer.{layer}." in name for layer in stage.trained)


def _seed(*key: int) -> int:
    """A seed of torch's generator that is a function of a key."""
    return int(generator(*key).integers(2**63))
