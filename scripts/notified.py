# What: a receiver of webhooks that keeps when each came, and a running Millstream with channels to
#       it. Imported by scripts/bench-notify.
# Why:  the receiver is in the measurement; it must be cheap, and must say what it saw.
# Needs: python3.
import asyncio
import http.client
import json
import os
import subprocess
import threading
import time

import bench

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Connection(asyncio.Protocol):
    """HTTP/1.1 as our own client speaks it: one request after the other, bodies with their length."""

    def __init__(self, receiver):
        self.receiver, self.buffer = receiver, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.buffer += data
        while True:
            head = self.buffer.find(b"\r\n\r\n")
            if head < 0:
                return
            at = self.buffer.find(b"content-length: ", 0, head)
            if at < 0:
                return self.transport.close()
            length = int(self.buffer[at + 16:self.buffer.find(b"\r\n", at)])
            if len(self.buffer) < head + 4 + length:
                return
            request = self.buffer[:head + 4 + length]
            self.buffer = self.buffer[head + 4 + length:]
            path = request[5:request.find(b" ", 5)]
            if path in self.receiver.hang:
                return
            self.receiver.came.append((time.monotonic(), request, head))
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


class Receiver:
    """On a thread of its own. `came`: when, the whole request, where its head ends."""

    def __init__(self, hang=()):
        self.came, self.hang = [], set(hang)
        ready = threading.Event()

        def run():
            self.loop = asyncio.new_event_loop()
            made = self.loop.create_server(lambda: Connection(self), "127.0.0.1", 0, backlog=1024)
            self.server = self.loop.run_until_complete(made)
            self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]
            ready.set()
            self.loop.run_forever()

        threading.Thread(target=run, daemon=True).start()
        ready.wait()

    def about(self):
        """Of each that came: path, the row it is about, when."""
        for at, request, head in self.came:
            yield request[5:request.find(b" ", 5)].decode(), json.loads(request[head + 4:])["data"]["about"], at


def channel(name, address, more=""):
    return (f'[channels.{name}]\nkind = "webhook"\nurl = "http://{address}/{name}"\n'
            f'secret_file = "ops.secret"\nallow = ["{address}"]\nrate = 100000\n{more}\n')


def rule(name, channel_name, when):
    return (f'[rules.{name}]\nview = "cases"\nwhen = "{when}"\nepisode = ["opened_at"]\n'
            f'since = "opened_at"\nchannel = "{channel_name}"\n'
            'text = "case {{ case }} of {{ customer }} waits in {{ queue }}"\n')


class Running:
    """`millstream run` with these settings, in a folder of its own."""

    def __init__(self, program, folder, settings, workers=1):
        self.data = os.path.join(folder, "data")
        with open(os.path.join(folder, "ops.secret"), "w", encoding="utf-8") as file:
            file.write(SECRET)
        path = os.path.join(folder, "millstream.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(settings)
        self.began = time.monotonic()
        self.process = subprocess.Popen([
            program, "run", "--config", path, "--data-dir", self.data, "--listen", "127.0.0.1:0",
            "--workers", str(workers), "--log-level", "error"])
        where = os.path.join(self.data, "admin.addr")
        while not (os.path.exists(where) and os.path.getsize(where)):
            if self.process.poll() is not None:
                bench.stop("millstream run ended")
            time.sleep(0.01)
        with open(where, encoding="utf-8") as file:
            self.address = file.read().strip()
        self.client = http.client.HTTPConnection(self.address, timeout=120)

    def ask(self, path, method="GET", body=None, headers=None):
        self.client.request(method, path, body, headers or {})
        answer = self.client.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def post(self, events):
        """Durable when this returns; waits where it is told to."""
        body = "[" + ",".join(events) + "]"
        while True:
            status, told = self.ask("/v1/events", "POST", body,
                                    {"content-type": "application/cloudevents-batch+json"})
            if status == 202:
                return
            if status not in (429, 503):
                bench.stop(f"events were not taken: {status} {told}")
            time.sleep(0.05)

    def notifications(self):
        return self.ask("/v1/ledger")[1].get("notifications") or {}

    def until(self, what, is_so, seconds=600):
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end or self.process.poll() is not None:
                bench.stop(f"it never came to this: {what}: {self.notifications()}")
            time.sleep(0.05)

    def resident_mb(self):
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as file:
            line = next(it for it in file if it.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def end(self):
        self.client.close()
        self.process.kill()
        self.process.wait()


def opened(n, queue):
    """A case is opened, now."""
    ms = time.time_ns() // 1_000_000
    at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ms // 1000)) + f".{ms % 1000:03}Z"
    return json.dumps({
        "specversion": "1.0", "id": f"e-{n}", "source": "//bench", "type": "case.opened", "time": at,
        "data": {"case": f"K-{n}", "customer": f"C-{n % 1000}", "severity": 2, "queue": queue}})
