"""Sends a message by Python's smtplib: `send_smtplib.py HOST PORT WAY RECIPIENTS FILE [MECHANISM USER PASSWORD]`.

RECIPIENTS have commas between them. WAY is clear, starttls or implicit. FILE holds the message as it goes over the wire."""

import smtplib
import ssl
import sys

host, port, way, recipients, file = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
recipients = recipients.split(",")
credentials = sys.argv[6:]

# The certificate is the test's own, made a moment ago.
anybody = ssl.create_default_context()
anybody.check_hostname = False
anybody.verify_mode = ssl.CERT_NONE

with open(file, "rb") as opened:
    message = opened.read()

if way == "implicit":
    server = smtplib.SMTP_SSL(host, port, local_hostname="client.example.test", timeout=30, context=anybody)
else:
    server = smtplib.SMTP(host, port, local_hostname="client.example.test", timeout=30)
with server:
    if way == "starttls":
        server.starttls(context=anybody)
    server.ehlo()
    assert server.has_extn("8bitmime") and server.has_extn("size") and server.has_extn("pipelining")
    assert server.has_extn("starttls") == (way == "clear")
    if credentials:
        mechanism, server.user, server.password = credentials
        assert mechanism in server.esmtp_features["auth"].split()
        server.auth(mechanism, getattr(server, f"auth_{mechanism.lower()}"))
    options = ["BODY=8BITMIME"] + ([] if "".join(recipients).isascii() else ["SMTPUTF8"])
    refused = server.sendmail("a@client.test", [*recipients, "b@elsewhere.test"], message, options)
    assert {address: code for address, (code, _) in refused.items()} == {"b@elsewhere.test": 550}
    assert server.verify("b@example.test")[0] == 252
    assert server.noop()[0] == 250
    # A second message in the same session.
    assert server.sendmail("c@client.test", ["again@example.test"], message, ["BODY=8BITMIME"]) == {}
