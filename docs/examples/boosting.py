"""Gradient boosting on a table, five rounds an epoch: scikit-learn trains, hpo searches."""

from dataclasses import dataclass

import joblib
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score

from hpo import Fidelity, OwnEpoch, OwnTraining, StudySpec, integer, log

FIRST = {"train": 0, "val": 280, "test": 420}


@dataclass(frozen=True)
class Boosting(OwnTraining):
    rate: float = 0.1
    leaves: int = 31
    goal, direction, bounds = "auc", "maximize", {"auc": (0, 1)}

    def rows(self, split, fidelity):
        x, y = load_breast_cancer(return_X_y=True)
        rows = np.random.default_rng(0).permutation(len(x))[FIRST[split] :][: fidelity.examples(split)]
        return x[rows], y[rows]

    def train(self, recipe, fidelity, seed, folder):
        model = HistGradientBoostingClassifier(
            learning_rate=self.rate,
            max_leaf_nodes=self.leaves,
            max_features=0.5,
            early_stopping=False,
            warm_start=True,
            random_state=seed % 2**32,
        )
        for epoch in range(fidelity.epochs):
            model.set_params(max_iter=5 * epoch + 5).fit(*self.rows("train", fidelity))
            yield OwnEpoch(
                epoch,
                validation=self.columns(model, "val", fidelity),
                test=lambda: self.columns(model, "test", fidelity),
                export=lambda folder: joblib.dump(model, folder / "model.joblib"),
            )

    def columns(self, model, split, fidelity):
        x, y = self.rows(split, fidelity)
        return {"said": model.decision_function(x), "malignant": y}

    def metrics(self, columns):
        return {"auc": roc_auc_score(columns["malignant"], columns["said"])}


study = StudySpec(
    name="boosting",
    task=Boosting(),
    space={"task.rate": log(0.01, 1), "task.leaves": integer(3, 63)},
    smoke=Fidelity(size=1, train=100, val=140, epochs=2),
    cheap=Fidelity(size=1, train=140, val=140, epochs=6),
    full=Fidelity(size=1, train=280, val=140, epochs=20, test=149),
)
