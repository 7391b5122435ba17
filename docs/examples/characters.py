"""A character language model of Python's own help texts: lines of any length, and perplexity."""

from dataclasses import dataclass
from pydoc_data.topics import topics
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from hpo import Fidelity, Overfit, Recipe, StudySpec, Task, choose, generator, log, uniform

PARTS = {0: "test", 1: "val"}  # of five texts one tests and one validates


def texts():
    """Each line, with the number of the first text that has it: some lines stand in several."""
    lines = {}
    for number, name in enumerate(sorted(topics)):
        for line in topics[name].splitlines():
            if len(line) > 20 and line.isascii():
                lines.setdefault(line, number)
    return lines


class Batch(NamedTuple):
    before_BT: Tensor  # characters; 0 fills up short lines
    next_BT: Tensor  # the character after each of them
    text_B: Tensor  # the number of the text that a line is from


class Reader(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.embedding = nn.Embedding(128, 32)
        self.recurrent = nn.GRU(32, width, batch_first=True)
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 128))

    def forward(self, before_BT):
        return self.head(self.recurrent(self.embedding(before_BT))[0])


@dataclass(frozen=True)
class Characters(Task[Batch]):
    width: int = 64
    dropout: float = 0.1

    goal, direction, bounds = "perplexity", "minimize", {"perplexity": (1, float("inf"))}
    inputs, labels, cluster = ("before_BT",), ("next_BT",), "text_B"
    overfit = Overfit(samples=128, epochs=100, pinned={"recipe.lr": 1e-2, "task.dropout": 0.0})

    def batches(self, split, fidelity, batch_size, rng):
        lines = [(number, line) for line, number in texts().items() if PARTS.get(number % 5, "train") == split]
        chosen = torch.randperm(len(lines), generator=generator("lines", split))[: fidelity.limit(split)]
        order = chosen[torch.randperm(len(chosen), generator=rng)] if split == "train" else chosen
        for rows in order.split(batch_size):
            codes = [torch.tensor(list(f"\n{lines[row][1]}\n".encode())) for row in rows]
            before, after = [code[:-1] for code in codes], [code[1:] for code in codes]
            text_B = torch.tensor([lines[row][0] for row in rows])
            yield Batch(pad_sequence(before, batch_first=True), pad_sequence(after, batch_first=True), text_B)

    def model(self):
        return Reader(self.width, self.dropout)

    def nll(self, model, batch):
        logits_BCT = model(batch.before_BT).transpose(1, 2)
        return nn.functional.cross_entropy(logits_BCT, batch.next_BT, ignore_index=0, reduction="none")

    def loss(self, model, batch, at):
        return {"nll": self.nll(model, batch).sum() / (batch.next_BT != 0).sum()}

    def score(self, model, batch):
        return {"nll": self.nll(model, batch).sum(1), "characters": (batch.next_BT != 0).sum(1)}

    def metrics(self, columns):
        return {"perplexity": (columns["nll"].sum() / columns["characters"].sum()).exp()}


study = StudySpec(
    name="characters",
    task=Characters(),
    recipe=Recipe(lr=5e-3, batch_size=32),
    space={"recipe.lr": log(1e-3, 3e-2), "task.width": choose(32, 64, 128), "task.dropout": uniform(0, 0.4)},
    smoke=Fidelity(train=64, val=40, epochs=2),
    cheap=Fidelity(train=600, val=300, epochs=4),
    full=Fidelity(train=2000, val=300, epochs=6, test=600),
    trials=12,
)
