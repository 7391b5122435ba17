import json
import os
import sys
from urllib.request import Request, urlopen

event = json.load(sys.stdin)
if event["event"] != "trial_ended":
    message = json.dumps({"text": f"{event['study']}: {event['text']}"}).encode()
    urlopen(Request(os.environ["SLACK_WEBHOOK"], message, {"Content-Type": "application/json"}), timeout=20)
