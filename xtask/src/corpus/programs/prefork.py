"""A server that loads its data once and then works on it: in workers that it forks, or alone.

Usage: prefork.py SIZE SEED WORKERS. SIZE bytes of data are resident before the work begins. With workers each does its own
requests, and "ready PID" is printed when all have done theirs; the file `workers` then has their numbers. With 0 workers "ready
PID" is printed when the data is there, and the server works on, alone. It ends when standard input does.
"""

import gc
import html
import json
import os
import random
import re
import signal
import sys
import threading
import time

WORDS = (
    "account active amount archive average balance batch billing branch browser cache calendar category channel "
    "charge client column comment commit company config contact content country created currency customer data date "
    "default delivery deposit detail device discount document domain email engine entry error event export failed "
    "feature field filter folder gateway global group handler header health history hour image import index input "
    "invoice item label language layer level limit location locked login manager market member message method metric"
).split()
REQUESTS = 4000
TOKEN = re.compile(r"[a-z]+|\d+")


class Server:
    """The data, and what a request does with it."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.records = []
        self.by_word = {}
        self.templates = {word: "<li class='%s'>{name}: {note}</li>" % word for word in WORDS}
        # What a worker keeps of its own.
        self.sessions = {}
        self.cache = {}
        self.served = 0

    def sentence(self, length):
        return " ".join(self.rng.choice(WORDS) for _ in range(length))

    def load(self, count):
        """More data, in the way that a service reads it from its database."""
        first = len(self.records)
        rows = [
            {
                "id": number,
                "name": self.sentence(2).title(),
                "email": "%s.%d@example.com" % (self.rng.choice(WORDS), number),
                "balance": self.rng.lognormvariate(5, 2),
                "tags": self.rng.sample(WORDS, 3),
                "note": self.sentence(self.rng.randrange(4, 30)),
            }
            for number in range(first, first + count)
        ]
        for record in json.loads(json.dumps(rows)):
            self.records.append(record)
            for tag in record["tags"]:
                self.by_word.setdefault(tag, []).append(record)

    def request(self):
        """Finds records, renders them, changes one, and keeps a session."""
        rng = self.rng
        found = rng.sample(self.by_word[rng.choice(WORDS)], 8)
        shown = "".join(
            self.templates[record["tags"][0]].format(name=html.escape(record["name"]), note=record["note"])
            for record in found
        )
        body = json.dumps({"shown": shown, "total": sum(record["balance"] for record in found)})
        user = rng.randrange(2000)
        session = self.sessions.setdefault(user, {"hits": 0, "seen": [], "token": "%032x" % rng.getrandbits(128)})
        session["hits"] += 1
        session["seen"] = (session["seen"] + [record["id"] for record in found])[-20:]
        found[0]["balance"] *= 1.01
        if rng.random() < 0.1:
            self.cache[rng.randrange(500)] = body
        self.served += len(TOKEN.findall(body))


def resident_bytes():
    with open("/proc/self/statm") as numbers:
        return int(numbers.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def work_as(server, number, requests):
    server.rng.seed(number)
    for _ in range(requests):
        server.request()


def fork_worker(server, number, done):
    pid = os.fork()
    if pid:
        return pid
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    work_as(server, number, REQUESTS)
    os.write(done, b"d")
    while True:
        signal.pause()


def main():
    size, seed, workers = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    server = Server(seed)
    while resident_bytes() < size:
        server.load(2000)
    # Requests before the fork, as a server warms up.
    work_as(server, seed, 500)
    gc.collect()
    if workers:
        at, done = os.pipe()
        pids = [fork_worker(server, 1000 + number, done) for number in range(workers)]
        left = workers
        while left:
            left -= len(os.read(at, left))
        with open("workers", "w") as file:
            file.write(" ".join(map(str, pids)))
        print("ready", os.getpid(), flush=True)
        sys.stdin.read()
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return

    def end():
        sys.stdin.read()
        os._exit(0)

    threading.Thread(target=end, daemon=True).start()
    print("ready", os.getpid(), flush=True)
    while True:
        server.request()
        time.sleep(0.0005)


main()
