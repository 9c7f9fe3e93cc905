"""Checks the JSON of `pagefold estimate --lifecycle` on standard input: documented keys, and figures that make sense."""

import json
import sys

RUN_KEYS = (
    "codec allocator phase pages stored raw same_filled payload_bytes frame_bytes metadata_bytes density "
    "effective_ratio resident_bytes rss_delta_bytes moved_bytes store_us load_us verified"
).split()
PHASES = ["fill", "churn", "half_freed", "compacted"]


def check(condition, message):
    if not condition:
        raise SystemExit("estimate: " + message)


report = json.load(sys.stdin)
check(report["version"] == 1, "version %r" % report["version"])
given = report["input"]
check(given["bytes"] > 0 and given["pages"] > 0, "nothing was read: %r" % given)
check(given["same_filled"] <= given["pages"], "more same-filled pages than pages: %r" % given)
check(isinstance(given["skipped"], list), "skipped is no list")
runs = report["runs"]
kinds = {(run["codec"], run["allocator"]) for run in runs}
check(len({codec for codec, _ in kinds}) >= 3, "fewer codecs than the default ones: %r" % kinds)
allocators = {allocator for _, allocator in kinds}
check(allocators == {"nbud", "zbud", "xcfmalloc", "zsmalloc"}, "not every allocator was measured: %r" % allocators)
for kind in kinds:
    phases = [run["phase"] for run in runs if (run["codec"], run["allocator"]) == kind]
    check(phases == PHASES, "%r has the phases %r" % (kind, phases))
for run in runs:
    name = "%(codec)s %(allocator)s %(phase)s: " % run
    check(all(key in run for key in RUN_KEYS), name + "keys are missing: %r" % sorted(run))
    check(run["verified"] is True, name + "not verified")
    check(run["pages"] == run["stored"] + run["raw"] + run["same_filled"], name + "the pages do not add up")
    check(0 < run["density"] <= 1, name + "density %r" % run["density"])
    check(run["payload_bytes"] <= run["frame_bytes"], name + "more payload than frames")
    for key in ("store_us", "load_us"):
        times = run[key]
        if times["p50"] is None:
            # A phase that stores nothing has no times of storing.
            check(key == "store_us" and run["phase"] in ("half_freed", "compacted"), name + key + " is missing")
        else:
            check(0 <= times["p50"] <= times["p99"], name + "%s %r" % (key, times))
print("estimate: %d runs over %d pages, every page verified" % (len(runs), given["pages"]))
