"""How far does a patient's diabetes progress? A finished Optuna study, in an SQLite file.

python -m tests.benchmarks.plain_projects.progression [TRIALS]
"""

import sys

import optuna
import torch
from sklearn.datasets import load_diabetes
from torch import nn

torch.set_num_threads(1)
x, y = (torch.tensor(array).float() for array in load_diabetes(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
x, y = 20 * x[order], y[order]
train, val, test = ((x[part], y[part]) for part in (slice(240), slice(240, 340), slice(340, None)))


def rmse(model, x, y):
    model.eval()
    with torch.no_grad():
        return (150 + 75 * model(x)[:, 0] - y).square().mean().sqrt().item()


def train_model(params, train, val, epochs, seed, trial=None):
    torch.manual_seed(seed)
    width = params["width"]
    model = nn.Sequential(nn.Linear(10, width), nn.Tanh(), nn.Linear(width, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=params["lr"])
    best = float("inf")
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(train[0])).split(16):
            error = model(train[0][rows])[:, 0] - (train[1][rows] - 150) / 75
            optimizer.zero_grad()
            error.square().mean().backward()
            optimizer.step()
        best = min(best, rmse(model, *val))
        if trial is not None:
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
    return model, best


def objective(trial):
    params = {
        "lr": trial.suggest_float("lr", 1e-4, 1e-1, log=True),
        "width": trial.suggest_categorical("width", [4, 16, 64]),
    }
    return train_model(params, train, val, epochs=6, seed=trial.number, trial=trial)[1]


if __name__ == "__main__":
    study = optuna.create_study(
        study_name="progression",
        storage="sqlite:///progression.db",
        direction="minimize",
        sampler=optuna.samplers.TPESampler(seed=0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=3),
        load_if_exists=True,
    )
    study.set_metric_names(["rmse"])
    study.optimize(objective, n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 20)
    model, _ = train_model(study.best_params, train, val, epochs=30, seed=100)
    torch.save(model.state_dict(), "progression.pt")
    print(study.best_params, study.best_value, "test RMSE", rmse(model, *test))
