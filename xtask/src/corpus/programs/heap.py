"""Builds a heap such as a Python service has, until SIZE bytes of it are resident; then waits to be read.

Usage: heap.py SIZE SEED. Prints "ready PID" and ends when standard input does.
"""

import json
import os
import random
import sys

try:
    import pandas
except ImportError:
    pandas = None

WORDS = (
    "account active amount archive average balance batch billing branch browser cache calendar category channel "
    "charge client column comment commit company config contact content country created currency customer data date "
    "default delivery deposit detail device discount document domain draft email engine entry error event export "
    "failed feature field filter folder footer format gateway global group handler header health history hour image "
    "import index input invoice item label language layer level limit location locked login manager market member "
    "message method metric minute mobile model module month network notice number object offer option order origin "
    "owner package page parent partner password payment pending period phone plan platform policy price primary "
    "process product profile project public quantity query queue rate reason record refund region release remote "
    "report request result retry review role route sample schedule scope score search section secure segment server "
    "service session shipping signal source stage status stock storage stream string subject summary support system "
    "table target team template terminal ticket title token total trace traffic transfer trial type update upload "
    "usage user value vendor version view visit warehouse week window worker year zone"
).split()


class Point:
    """A small object with slots."""

    __slots__ = ("x", "y", "label")

    def __init__(self, x, y, label):
        self.x = x
        self.y = y
        self.label = label


class Session:
    """A small object with a dict of its own."""

    def __init__(self, user, token, hits):
        self.user = user
        self.token = token
        self.hits = hits
        self.history = []


def sentence(rng, length):
    # Squaring makes the first words of the list frequent and the last ones rare.
    return " ".join(WORDS[int(len(WORDS) * rng.random() ** 2)] for _ in range(length))


def record(rng, number):
    return {
        "id": number,
        "uuid": "%032x" % rng.getrandbits(128),
        "name": sentence(rng, 2).title(),
        "email": "%s.%d@example.com" % (rng.choice(WORDS), rng.randrange(10000)),
        "active": rng.random() < 0.8,
        "balance": round(rng.lognormvariate(5, 2), 2),
        "created": "2025-%02d-%02dT%02d:%02d:%02dZ"
        % (rng.randint(1, 12), rng.randint(1, 28), rng.randrange(24), rng.randrange(60), rng.randrange(60)),
        "tags": [rng.choice(WORDS) for _ in range(rng.randrange(6))],
        "address": {"city": rng.choice(WORDS).title(), "zip": "%05d" % rng.randrange(100000), "country": "DE"},
        "note": sentence(rng, rng.randrange(4, 40)) if rng.random() < 0.5 else None,
    }


def batch(rng, number):
    """One batch of everything, about 2 MB."""
    first = number * 1000
    records = [record(rng, first + index) for index in range(400)]
    parsed = json.loads(json.dumps([record(rng, first + 400 + index) for index in range(400)]))
    index = {}
    for entry in records:
        for tag in entry["tags"]:
            index.setdefault(tag, set()).add(entry["id"])
    walk, value = [], 100.0
    for _ in range(8000):
        value += rng.gauss(0, 1)
        walk.append(value)
    parts = {
        "records": records,
        "parsed": parsed,
        "index": index,
        "walk": walk,
        "points": [Point(rng.random(), rng.random(), rng.choice(WORDS)) for _ in range(2000)],
        "sessions": [Session(rng.randrange(10**6), "%016x" % rng.getrandbits(64), first) for _ in range(1000)],
        "lines": [sentence(rng, 12) for _ in range(1000)],
        "counts": {"%s-%d" % (rng.choice(WORDS), number): rng.randrange(1000) for number in range(1500)},
        "raw": json.dumps(records[:100]).encode(),
    }
    if pandas is not None:
        parts["frame"] = pandas.DataFrame.from_records(records)
    return parts


def resident():
    with open("/proc/self/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise SystemExit("/proc/self/status has no RssAnon")


def main():
    size, seed = int(sys.argv[1]), int(sys.argv[2])
    rng = random.Random(seed)
    heap = []
    while resident() < size:
        heap.append(batch(rng, len(heap)))
        if len(heap) % 8 == 0:
            # What lives long has holes: some parts of recent batches are dropped again.
            for old in rng.choices(heap[-16:], k=4):
                if old:
                    old.pop(rng.choice(sorted(old)))
    print("ready", os.getpid(), flush=True)
    sys.stdin.read()


main()
