import json
import sys
from pathlib import Path

import mlflow

event = json.load(sys.stdin)
if event["event"] == "trial_ended":
    trial = event["trial"]
    result = json.loads(Path(trial["folder"], "result.json").read_text())
    mlflow.set_experiment(event["study"])
    with mlflow.start_run(run_name=f"{trial['kind']} {trial['number']}"):
        mlflow.set_tag("state", trial["state"])
        mlflow.log_params(trial["params"])
        for epoch in result["history"]:
            mlflow.log_metric(event["goal"], epoch["value"], step=epoch["epoch"])
        mlflow.log_metrics({f"best epoch {name}": score for name, score in trial["scores"].items()})
