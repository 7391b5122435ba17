"""Is a tumour malignant? A network beside gradient boosting on one table, tuned with plain Optuna.

python -m tests.benchmarks.plain_projects.table [TRIALS]
"""

import sys

import optuna
import torch
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

torch.set_num_threads(1)
x, y = (torch.tensor(array).float() for array in load_breast_cancer(return_X_y=True))
order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
x, y = x[order], 1 - y[order]
train, val, test = ((x[part], y[part]) for part in (slice(280), slice(280, 420), slice(420, None)))
mean, spread = train[0].mean(0), train[0].std(0)


def auc(model, x, y):
    model.eval()
    with torch.no_grad():
        return roc_auc_score(y, model((x - mean) / spread)[:, 0])


def train_model(params, train, val, epochs, seed, trial=None):
    torch.manual_seed(seed)
    width = params["width"]
    model = nn.Sequential(nn.Linear(30, width), nn.ReLU(), nn.Dropout(params["dropout"]), nn.Linear(width, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=params["lr"], weight_decay=params["weight_decay"])
    best = 0.0
    for epoch in range(epochs):
        model.train()
        for rows in torch.randperm(len(train[0])).split(16):
            logits = model((train[0][rows] - mean) / spread)[:, 0]
            optimizer.zero_grad()
            nn.functional.binary_cross_entropy_with_logits(logits, train[1][rows]).backward()
            optimizer.step()
        best = max(best, auc(model, *val))
        if trial is not None:
            trial.report(best, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
    return model, best


def objective(trial):
    params = {
        "lr": trial.suggest_float("lr", 1e-4, 3e-2, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-5, 1e-1, log=True),
        "width": trial.suggest_categorical("width", [8, 32, 128]),
        "dropout": trial.suggest_float("dropout", 0.0, 0.5),
    }
    small = tuple(part[:140] for part in train)
    return train_model(params, small, val, epochs=8, seed=trial.number, trial=trial)[1]


if __name__ == "__main__":
    study = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.TPESampler(seed=0), pruner=optuna.pruners.MedianPruner()
    )
    study.optimize(objective, n_trials=int(sys.argv[1]) if len(sys.argv) > 1 else 12)
    model, _ = train_model(study.best_params, train, val, epochs=30, seed=100)
    torch.save(model.state_dict(), "table.pt")
    boosting = HistGradientBoostingClassifier(max_iter=100, random_state=0).fit(*(array.numpy() for array in train))
    print(study.best_params, study.best_value, "test AUC", auc(model, *test))
    print("boosting's test AUC", roc_auc_score(test[1], boosting.decision_function(test[0].numpy())))
