import json
import sys
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

event = json.load(sys.stdin)
if event["event"] == "trial_ended":
    trial = event["trial"]
    result = json.loads(Path(trial["folder"], "result.json").read_text())
    with SummaryWriter(Path("tensorboard", event["study"], trial["kind"], str(trial["number"]))) as writer:
        for epoch in result["history"]:
            writer.add_scalar(event["goal"], epoch["value"], epoch["epoch"])
        writer.add_hparams(trial["params"], trial["scores"], run_name=".")
