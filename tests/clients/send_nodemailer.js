// Sends a message by nodemailer: `send_nodemailer.js HOST PORT WAY RECIPIENTS FILE [MECHANISM USER PASSWORD]`.
//
// RECIPIENTS have commas between them. WAY is clear, starttls or implicit. FILE holds the message as it goes over the wire.

"use strict";

const fs = require("node:fs");
const nodemailer = require("nodemailer");

const [host, port, way, recipients, file, mechanism, user, pass] = process.argv.slice(2);

const to = recipients.split(",");
const login =
  mechanism === "XOAUTH2" ? { type: "OAuth2", user, accessToken: pass } : { user, pass };

const transport = nodemailer.createTransport({
  host,
  port: Number(port),
  name: "client.example.test",
  secure: way === "implicit",
  requireTLS: way === "starttls",
  ignoreTLS: way === "clear",
  // The certificate is the test's own, made a moment ago.
  tls: { rejectUnauthorized: false },
  ...(mechanism && { auth: login, authMethod: mechanism }),
});

transport
  .sendMail({ envelope: { from: "a@client.test", to, use8BitMime: true }, raw: fs.readFileSync(file) })
  .then((sent) => {
    if (sent.accepted.length !== to.length) throw new Error(`accepted: ${sent.accepted}`);
  })
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
