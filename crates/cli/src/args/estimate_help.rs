//! What `pagefold estimate --help` and the manual page say beside the options.
//!
//! No line is longer than 71 columns: a page of the manual indents it by seven, and a terminal has 80.

pub(super) const ABOUT: &str = "\
Measure what compressed memory would save on your own data.

Every 4 KiB page of the input is compressed by a real codec, stored in a real pool, read back and checked by a \
128-bit hash. Nothing is extrapolated from a formula: memory is what the pool holds, RssAnon is what the kernel says. \
Each combination of codec and allocator gets a fresh pool, one after another, on the same bytes.";

pub(super) const REMARKS: &str = "\
Examples:
  pagefold estimate /usr/lib
      what would these files take?
  pagefold estimate --like zram /srv/data
      what would zram save me, with the codecs of this kernel?
  pagefold estimate --pid redis-server --maps
      a live process by its name: which part of it compresses how?
  pagefold estimate --cgroup /system.slice/nginx.service --shared
      all processes of a service, and once what they share
  pagefold estimate --all --sample 0.02
      every process that you may read
  pagefold estimate --dictionary --codec zstd:1 .
      the same codec with and without a dictionary
  pagefold estimate --tiers /usr/lib
      what would they take if every page were idle?
  pagefold estimate --base golden.img clone-1.img clone-2.img
      what would clones take as differences from their template?
  pagefold estimate --base-pid 4000 --pid 4001 --pid 4002
      workers of a server that forks, against the process that forked
  pagefold estimate -x --exclude '*.iso' --exclude .git /home
      one file system, without some names
  find . -name '*.json' -print0 | pagefold estimate --files0-from -
      a list of files
  pagefold estimate --codec lz4 --codec zstd:3 .
      compare two codecs
  pagefold estimate --sample 0.05 --seed 7 /srv
      one page in twenty, the same ones each time
  pagefold estimate --limit 1.5G dump.rdb
      how much fits in 1.5 GiB?
  pagefold estimate --lifecycle --html report.html data.bin
      all allocators over the life of a pool, with charts
  gunzip -c dump.gz | pagefold estimate --json -
      read a pipe, print JSON
  pagefold estimate core.4321
      what a process had when it crashed
  pagefold estimate --trace t.trace
      what pagefold torture --record wrote

Columns:
  eff. ratio  effective ratio: bytes of the pages / memory. It is what
              you would win; at 1 nothing is saved
  memory      what the pool holds for the pages: frames and metadata,
              and the codec's dictionary if it has one
  pages       how many pages were stored, same-filled ones included
  same        of these, same-filled: a repeated 8-byte word, no memory
  raw         of these, incompressible: kept as they are
  ratio       what the codec does: bytes before / after, same-filled
              pages left out
  density     what the allocator does: payload / frames, at most 1
  store us    microseconds to compress and store a page: p50 is the
              median, one page in a hundred takes longer than p99
  load us     the same, to read a page back in random order
  RssAnon     growth of this process, as the kernel counts it
  payload     with --lifecycle: the bytes of the compressed pages
  frames      the 4 KiB frames that they lie in
  idle        frames that hold nothing and are kept for later
  metadata    the pool's tables, descriptors and handles
  resident    frames, idle frames and metadata together
  private     of a process: memory that it alone has; this was measured
  shared      memory that other processes have as well; left out unless
              --shared
  files       pages of files, which the kernel can drop; left out
  swap        swapped out already; left out
  +idle       a row of --tiers: if every page were idle. Four pages are
              one object where that is shorter; store is the time for a
              page alone and a quarter of that for its cluster
  on the base what --base would make of the pages: equal pages take no
              memory, deltas are what differs from a base page
  share       of all pages of the sample
  objects     bytes of the compressed pages, without the allocator's
  without it  the same pages compressed by balanced, without the base
  lz4, ..     a column named after a codec: the effective ratio of a
              process or mapping";

pub(super) const MORE: &str = "\
Sizes are numbers with K, M, G or T, powers of 1024, or with KB, MB, GB \
or TB, powers of 1000. The JSON and the rules of sampling are described \
in docs/ESTIMATE.md.";
