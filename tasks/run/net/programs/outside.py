"""A program of its own: a server outside of a cluster, which tells whether who asks has been translated.

    python outside.py ADDRESS PORT NEIGHBOUR...

It gives the loopback interface of the namespace that it runs in the address, and answers every HTTP request
with "translated" if it comes from one of the neighbours, else with where it comes from. It prints "ready".
"""

import http.server
import subprocess
import sys


def main(address: str, port: int, neighbours: list[str]) -> None:
    """Serve until somebody ends it."""

    class Answer(http.server.BaseHTTPRequestHandler):
        """Answers every request alike."""

        def do_GET(self) -> None:  # noqa: N802
            """Send the answer."""
            peer = self.client_address[0]
            body = b"translated" if peer in neighbours else f"not-translated:{peer}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=False)
    server = http.server.ThreadingHTTPServer((address, port), Answer)
    print("ready", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3:])
