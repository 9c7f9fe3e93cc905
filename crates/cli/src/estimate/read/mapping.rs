//! Tells the use of a process's address range.
//!
//! | kind | sign |
//! |---|---|
//! | `heap`, `stack`, `named` | the name `[heap]`, `[stack]`, `[anon:NAME]` |
//! | `thread_stack` | a waiting thread's stack pointer; a running thread shows none |
//! | `arena` | at a multiple of 64 MiB, which it fills with the inaccessible range behind it: glibc malloc |
//! | `anonymous` | any other memory of no file |
//! | `file` | pages of a private file mapping that the process wrote to |
//! | `other` | another name from the kernel |

use std::path::Path;

use pagefold_procfs::Mapping;

use crate::estimate::result::mapping_kind::MappingKind;

/// Alignment and size of a glibc arena on 64-bit systems.
const ARENA_BYTES: u64 = 64 << 20;

/// `next` follows in the list; `stacks` are sorted stack pointers.
pub(crate) fn kind_of(mapping: &Mapping, next: Option<&Mapping>, stacks: &[u64]) -> MappingKind {
    match mapping.path.as_deref().and_then(Path::to_str) {
        Some("[heap]") => MappingKind::Heap,
        Some(name) if name.starts_with("[stack") => MappingKind::Stack,
        Some(name) if program_name(name).is_some() => MappingKind::Named,
        Some(name) if name.starts_with('[') => MappingKind::Other,
        Some(_) => MappingKind::File,
        None if mapping.path.is_some() => MappingKind::File,
        None if has_stack(mapping, stacks) => MappingKind::ThreadStack,
        None if is_arena(mapping, next) => MappingKind::Arena,
        None => MappingKind::Anonymous,
    }
}

fn has_stack(mapping: &Mapping, stacks: &[u64]) -> bool {
    let next = stacks.partition_point(|&pointer| pointer < mapping.start);
    stacks.get(next).is_some_and(|&pointer| pointer < mapping.end)
}

pub(crate) fn program_name(name: &str) -> Option<&str> {
    name.strip_prefix("[anon:")?.strip_suffix(']')
}

/// Begins at the alignment and ends, alone or with the inaccessible rest, at the full size.
fn is_arena(mapping: &Mapping, next: Option<&Mapping>) -> bool {
    let writable = mapping.permissions.read && mapping.permissions.write;
    let reserved_to = mapping.start.checked_add(ARENA_BYTES);
    let rest = next.filter(|next| next.start == mapping.end && !next.permissions.read);
    // Neighbouring full arenas look like one range.
    let full = mapping.len().is_multiple_of(ARENA_BYTES);
    let end = rest.map_or(mapping.end, |rest| rest.end);
    writable && mapping.start.is_multiple_of(ARENA_BYTES) && (full || Some(end) == reserved_to)
}

#[cfg(test)]
mod tests {
    use pagefold_procfs::Permissions;

    use super::*;

    fn range(start: u64, end: u64, write: bool, name: Option<&str>) -> Mapping {
        Mapping {
            start,
            end,
            permissions: Permissions { read: write, write, execute: false, shared: false },
            offset: 0,
            device: (0, 0),
            inode: 0,
            path: name.map(Into::into),
        }
    }

    #[test]
    fn names_tell() {
        for (name, kind) in [
            ("[heap]", MappingKind::Heap),
            ("[stack]", MappingKind::Stack),
            ("[anon:v8]", MappingKind::Named),
            ("[vvar]", MappingKind::Other),
            ("/usr/lib/libc.so.6", MappingKind::File),
            ("/dev/zero (deleted)", MappingKind::File),
        ] {
            let mapping = range(0x1000, 0x2000, true, Some(name));
            assert_eq!(kind_of(&mapping, None, &[0x1800]), kind, "{name}");
        }
    }

    #[test]
    fn a_stack_is_where_a_thread_waits() {
        let mapping = range(0x1000, 0x2000, true, None);
        assert_eq!(kind_of(&mapping, None, &[0x900, 0x1ff8]), MappingKind::ThreadStack);
        assert_eq!(kind_of(&mapping, None, &[0x2000]), MappingKind::Anonymous);
    }

    #[test]
    fn an_arena_fills_its_reservation_together_with_what_follows() {
        let base = 0x7f00_0000_0000;
        let part = range(base, base + 0x21000, true, None);
        let rest = range(base + 0x21000, base + ARENA_BYTES, false, None);
        let kind = |mapping: &Mapping, next| kind_of(mapping, next, &[]);
        assert_eq!(kind(&part, Some(&rest)), MappingKind::Arena);
        assert_eq!(kind(&range(base, base + ARENA_BYTES, true, None), None), MappingKind::Arena);
        assert_eq!(kind(&part, None), MappingKind::Anonymous, "no reservation");
        let short = range(base + 0x21000, base + ARENA_BYTES - 0x1000, false, None);
        assert_eq!(kind(&part, Some(&short)), MappingKind::Anonymous, "another size");
        let moved = range(base + 0x1000, base + 0x21000, true, None);
        assert_eq!(kind(&moved, Some(&rest)), MappingKind::Anonymous, "another alignment");
        let top = range(u64::MAX - ARENA_BYTES + 1, u64::MAX, true, None);
        assert_eq!(kind(&top, None), MappingKind::Anonymous, "the end of the address space");
    }
}
