import json
import os
import smtplib
import sys
from email.message import EmailMessage

event = json.load(sys.stdin)
if event["event"] in ("sweep_ended", "promotion_ended", "failed"):
    mail = EmailMessage()
    mail["From"] = mail["To"] = os.environ["MAIL_TO"]
    mail["Subject"] = f"{event['study']}: {event['event'].replace('_', ' ')}"
    mail.set_content(event["text"])
    with smtplib.SMTP(os.environ.get("MAIL_HOST", "localhost"), int(os.environ.get("MAIL_PORT", 25))) as server:
        server.send_message(mail)
