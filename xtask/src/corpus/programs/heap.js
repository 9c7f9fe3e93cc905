// Builds a heap such as a Node service has, until SIZE bytes of it are resident; then waits to be read.
//
// Usage: node heap.js SIZE SEED. Prints "ready PID" and ends when standard input does.

"use strict";

const fs = require("fs");

const WORDS = (
  "account active amount archive average balance batch billing branch browser cache calendar category channel " +
  "charge client column comment commit company config contact content country created currency customer data date " +
  "default delivery deposit detail device discount document domain draft email engine entry error event export " +
  "failed feature field filter folder footer format gateway global group handler header health history hour image " +
  "import index input invoice item label language layer level limit location locked login manager market member " +
  "message method metric minute mobile model module month network notice number object offer option order origin"
).split(" ");

// Mulberry32: a small generator, because Math.random takes no seed.
let state = 0;
function random() {
  state = (state + 0x6d2b79f5) | 0;
  let value = Math.imul(state ^ (state >>> 15), 1 | state);
  value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
  return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
}

const below = (limit) => Math.floor(random() * limit);
const word = () => WORDS[Math.floor(WORDS.length * random() ** 2)];
const hex = (digits) => Array.from({ length: digits }, () => below(16).toString(16)).join("");
// Joining makes one flat string, as parsing and reading do; adding would make a tree of pieces.
const sentence = (length) => Array.from({ length }, word).join(" ");

class Order {
  constructor(number) {
    this.number = number;
    this.customer = below(100000);
    this.total = Math.round(random() * 1e6) / 100;
    this.paid = random() < 0.9;
    this.items = Array.from({ length: 1 + below(5) }, () => ({ sku: hex(8), quantity: 1 + below(9), price: random() * 100 }));
  }
}

function profile(id) {
  return {
    id,
    uuid: hex(32),
    name: `${word()} ${word()}`,
    email: `${word()}.${below(10000)}@example.com`,
    active: random() < 0.8,
    score: random() * 1000,
    tags: Array.from({ length: below(6) }, word),
    address: { city: word(), zip: String(below(100000)).padStart(5, "0"), country: "DE" },
    note: random() < 0.5 ? sentence(4 + below(36)) : null,
  };
}

function batch(number) {
  const first = number * 1000;
  const profiles = Array.from({ length: 400 }, (_, index) => profile(first + index));
  return {
    profiles,
    parsed: JSON.parse(JSON.stringify(Array.from({ length: 400 }, (_, index) => profile(first + 400 + index)))),
    orders: Array.from({ length: 500 }, (_, index) => new Order(first + index)),
    byEmail: new Map(profiles.map((entry) => [entry.email, entry])),
    seen: new Set(Array.from({ length: 1000 }, () => below(1e9))),
    numbers: Array.from({ length: 4000 }, () => random()),
    samples: Float64Array.from({ length: 4000 }, (_, index) => Math.sin(index / 50) * 100 + random()),
    lines: Array.from({ length: 1000 }, () => sentence(12)),
    text: JSON.stringify(profiles.slice(0, 100)),
    handlers: Array.from({ length: 200 }, (_, index) => (value) => value + index + number),
  };
}

function resident() {
  const match = /^RssAnon:\s+(\d+) kB$/m.exec(fs.readFileSync("/proc/self/status", "utf8"));
  if (match === null) throw new Error("/proc/self/status has no RssAnon");
  return Number(match[1]) * 1024;
}

const size = Number(process.argv[2]);
state = Number(process.argv[3]) | 0;
const heap = [];
while (resident() < size) {
  heap.push(batch(heap.length));
  if (heap.length % 8 === 0) {
    // What lives long has holes: some parts of recent batches are dropped again.
    for (let count = 0; count < 4; count += 1) {
      const old = heap[heap.length - 1 - below(Math.min(heap.length, 16))];
      const names = Object.keys(old);
      delete old[names[below(names.length)]];
    }
  }
}
globalThis.heap = heap;
console.log(`ready ${process.pid}`);
process.stdin.on("end", () => process.exit(0)).resume();
