"""Sends a message by aiosmtplib: `send_aiosmtplib.py HOST PORT WAY RECIPIENTS FILE [MECHANISM USER PASSWORD]`.

RECIPIENTS have commas between them. WAY is clear, starttls or implicit. FILE holds the message as it goes over the wire."""

import asyncio
import sys

import aiosmtplib

host, port, way, recipients, file = sys.argv[1], int(sys.argv[2]), *sys.argv[3:6]
recipients = recipients.split(",")
credentials = sys.argv[6:]

with open(file, "rb") as opened:
    message = opened.read()


async def send():
    # The certificate is the test's own, made a moment ago.
    client = aiosmtplib.SMTP(
        hostname=host,
        port=port,
        local_hostname="client.example.test",
        timeout=30,
        use_tls=way == "implicit",
        start_tls=way == "starttls",
        validate_certs=False,
    )
    async with client:
        if credentials:
            mechanism, user, password = credentials
            # Its login() says EHLO by itself; its mechanisms do not.
            await client.ehlo()
            code, _ = await getattr(client, f"auth_{mechanism.lower()}")(user, password)
            assert code == 235
        options = ["BODY=8BITMIME"] + ([] if "".join(recipients).isascii() else ["SMTPUTF8"])
        errors, _ = await client.sendmail("a@client.test", recipients, message, mail_options=options)
        assert errors == {}


asyncio.run(send())
