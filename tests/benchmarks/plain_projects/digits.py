"""Which digit is on the picture? A convolutional network, tuned with plain Optuna.

python -m tests.benchmarks.plain_projects.digits [TRIALS]
"""

import sys

import optuna
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_num_threads(1)
data = load_digits()
order = torch.randperm(len(data.target), generator=torch.Generator().manual_seed(0))
images, digits = torch.tensor(data.images[order, None] / 16).float(), torch.tensor(data.target[order])
train, val, test = ((images[part], digits[part]) for part in (slice(1000), slice(1000, 1400), slice(1400, None)))


def make_model(channels, dropout):
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(channels, 2 * channels, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(dropout),
        nn.Linear(8 * channels, 10),
    )


def accuracy(model, images, digits):
    model.eval()
    with torch.no_grad():
        return (model(images).argmax(1) == digits).float().mean().item()


def train_model(params, train, val, epochs, seed, trial=None):
    torch.manual_seed(seed)
    model = make_model(params["channels"], params["dropout"])
    optimizer = torch.optim.AdamW(model.parameters(), lr=params["lr"])
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    best = 0.0
    for epoch in range(epochs):
        model.train()
        for x, y in DataLoader(TensorDataset(*train), batch_size=32, shuffle=True):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        scheduler.step()
        best = max(best, accuracy(model, *val))
        if trial is not None:
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
    return model, best


def objective(trial):
    params = {
        "lr": trial.suggest_float("lr", 3e-4, 3e-2, log=True),
        "channels": trial.suggest_categorical("channels", [8, 16, 32]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }
    small = tuple(part[:400] for part in train)
    return train_model(params, small, val, epochs=6, seed=trial.number, trial=trial)[1]


if __name__ == "__main__":
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner()
    )
    study.optimize(objective, n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 12)
    model, _ = train_model(study.best_params, train, val, epochs=15, seed=100)
    torch.save(model.state_dict(), "digits.pt")
    print(study.best_params, study.best_value, "test accuracy", accuracy(model, *test))
