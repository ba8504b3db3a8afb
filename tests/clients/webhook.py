"""Takes what is posted, by Python's http.server: `webhook.py DIRECTORY`.

Says its port on a line, and writes each request into DIRECTORY: the body, and before it the header as JSON. The first is
answered 503."""

import http.server
import json
import pathlib
import sys

directory = pathlib.Path(sys.argv[1])


class Webhook(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    count = 0

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        number = Webhook.count
        Webhook.count += 1
        fields = {name.lower(): self.headers.get_all(name) for name in self.headers.keys()}
        fields[":path"] = [self.path]
        (directory / f"{number}.json").write_text(json.dumps(fields))
        (directory / f"{number}.body").write_bytes(body)
        self.send_response(503 if number == 0 else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
print(server.server_address[1], flush=True)
server.serve_forever()
