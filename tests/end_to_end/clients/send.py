"""Sends mail by Python's smtplib: `send.py HOST PORT plain|starttls|implicit|many`."""

import smtplib
import ssl
import sys
from email.message import EmailMessage
from email.policy import SMTP

host, port, way = sys.argv[1], int(sys.argv[2]), sys.argv[3]

# The certificate is the test's own, made a moment ago.
anybody = ssl.create_default_context()
anybody.check_hostname = False
anybody.verify_mode = ssl.CERT_NONE

message = EmailMessage()
message["From"] = "a@client.test"
message["To"] = "b@example.test"
message["Subject"] = f"by smtplib, {way}"
message.set_content("first line\n.\n..two dots\nWörter ohne Verkleidung\n", cte="8bit")

if way == "implicit":
    server = smtplib.SMTP_SSL(host, port, local_hostname="client.example.test", timeout=30, context=anybody)
else:
    server = smtplib.SMTP(host, port, local_hostname="client.example.test", timeout=30)
with server:
    if way == "starttls":
        server.starttls(context=anybody)
    server.ehlo()
    assert server.has_extn("8bitmime") and server.has_extn("size") and server.has_extn("pipelining")
    assert server.has_extn("starttls") == (way in ("plain", "many"))
    recipients = ["b@example.test"]
    if way == "many":
        recipients = [f"b{number}@example.test" for number in range(20)] + ["b@elsewhere.test"]
    refused = server.sendmail("a@client.test", recipients, message.as_bytes(policy=SMTP), mail_options=["BODY=8BITMIME"])
    assert {recipient: code for recipient, (code, _) in refused.items()} == (
        {"b@elsewhere.test": 550} if way == "many" else {}
    )
    assert server.verify("b@example.test")[0] == 252
    assert server.noop()[0] == 250
    # A second message in the same session.
    server.send_message(message, "c@client.test", ["second@example.test"], mail_options=["BODY=8BITMIME"])
