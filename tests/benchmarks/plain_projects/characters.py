"""A character language model of Python's own help texts, tuned with plain Optuna.

python -m tests.benchmarks.plain_projects.characters [TRIALS]
"""

import math
import random
import sys
from pydoc_data.topics import topics

import optuna
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

torch.set_num_threads(1)


def lines_of(split):
    lines = []
    for number, name in enumerate(sorted(topics)):
        part = {0: "test", 1: "val"}.get(number % 5, "train")
        if part == split:
            lines += [line for line in topics[name].splitlines() if len(line) > 20 and line.isascii()]
    random.Random(0).shuffle(lines)
    return lines


train, val, test = (lines_of(split) for split in ("train", "val", "test"))


class Model(nn.Module):
    def __init__(self, width, dropout):
        super().__init__()
        self.embedding = nn.Embedding(128, 32)
        self.recurrent = nn.GRU(32, width, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(width, 128)

    def forward(self, characters):
        return self.head(self.dropout(self.recurrent(self.embedding(characters))[0]))


def batches(lines, size=32):
    for start in range(0, len(lines), size):
        rows = [torch.tensor(list(b"\n" + line.encode() + b"\n")) for line in lines[start : start + size]]
        yield pad_sequence([row[:-1] for row in rows], True), pad_sequence([row[1:] for row in rows], True)


def nll(model, x, y, reduction):
    return nn.functional.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=0, reduction=reduction)


def perplexity(model, lines):
    model.eval()
    total, count = 0.0, 0
    with torch.no_grad():
        for x, y in batches(lines, 128):
            total += nll(model, x, y, "sum").item()
            count += (y != 0).sum().item()
    return math.exp(total / count)


def train_model(params, train, val, epochs, seed, trial=None):
    torch.manual_seed(seed)
    random.seed(seed)
    model = Model(params["width"], params["dropout"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=params["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best = math.inf
    for epoch in range(epochs):
        model.train()
        for x, y in batches(random.sample(train, len(train))):
            optimizer.zero_grad()
            nll(model, x, y, "mean").backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        scheduler.step()
        best = min(best, perplexity(model, val))
        if trial is not None:
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
    return model, best


def objective(trial):
    params = {
        "lr": trial.suggest_float("lr", 1e-3, 3e-2, log=True),
        "width": trial.suggest_categorical("width", [32, 64, 128]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.4),
    }
    return train_model(params, train[:600], val[:300], epochs=4, seed=trial.number, trial=trial)[1]


if __name__ == "__main__":
    study = optuna.create_study(
        direction="minimize", sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner()
    )
    study.optimize(objective, n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 12)
    model, _ = train_model(study.best_params, train[:2000], val[:300], epochs=6, seed=100)
    torch.save(model.state_dict(), "characters.pt")
    print(study.best_params, study.best_value, "test perplexity", perplexity(model, test[:600]))
