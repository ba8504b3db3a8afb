"""Sends a message by Python's smtplib: `send_smtplib.py HOST PORT WAY RECIPIENT FILE [MECHANISM USER PASSWORD]`.

WAY is clear, starttls or implicit. FILE holds the message as it goes over the wire."""

import smtplib
import ssl
import sys

host, port, way, recipient, file = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
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
    refused = server.sendmail("a@client.test", [recipient, "b@elsewhere.test"], message, ["BODY=8BITMIME"])
    assert {address: code for address, (code, _) in refused.items()} == {"b@elsewhere.test": 550}
    assert server.verify(recipient)[0] == 252
    assert server.noop()[0] == 250
    # A second message in the same session, for many.
    many = [f"many{number}@example.test" for number in range(20)]
    assert server.sendmail("c@client.test", many, message, ["BODY=8BITMIME"]) == {}
