import json
import sys
from pathlib import Path

import wandb

event = json.load(sys.stdin)
if event["event"] == "trial_ended":
    trial = event["trial"]
    result = json.loads(Path(trial["folder"], "result.json").read_text())
    with wandb.init(project=event["study"], name=f"{trial['kind']} {trial['number']}", config=trial["params"]) as run:
        for epoch in result["history"]:
            run.log({event["goal"]: epoch["value"]}, step=epoch["epoch"])
        run.summary.update({"state": trial["state"], **trial["scores"]})
