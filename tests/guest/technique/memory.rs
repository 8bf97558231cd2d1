//! Executable memory that is no file's content, or no longer.

use super::{CONFIGURING, Technique, technique};

const MAP: &str = "map";
const PROTECT: &str = "protect";
const ANONYMOUS: &str = "anonymous-exec";
const MODIFIED: &str = "modified-code";
const FOREIGN: &str = "foreign";
const WRITTEN: &str = "written";
/// The mapping holds the file behind it, which is on no allowlist.
const NOT_LISTED: &str = "not-listed";

pub(super) const ROWS: &[Technique] = &[
    technique("anonymous-at-once", "memory that is writable and executable at once", "mmap(2), MAP_ANONYMOUS")
        .by(&["anonymous-exec"])
        .denied(MAP, ANONYMOUS),
    technique("anonymous-written-first", "memory that is written, then made executable", "mprotect(2)")
        .by(&["anonymous-protect"])
        .denied(PROTECT, ANONYMOUS),
    technique("anonymous-shared", "shared memory without a file, executable at once", "mmap(2), MAP_SHARED")
        .by(&["memory", "-", "shared", "rwx"])
        .denied(MAP, ANONYMOUS),
    technique("anonymous-shared-written-first", "shared memory without a file, written, then made executable", "mm/shmem.c: shmem_zero_setup")
        .by(&["memory", "-", "shared", "rw", "rx"])
        .denied(PROTECT, NOT_LISTED),
    technique("anonymous-execute-only", "memory without a file that is executable and nothing else", "mmap(2), PROT_EXEC")
        .by(&["memory", "-", "private", "x"])
        .denied(MAP, ANONYMOUS),
    technique("anonymous-with-key", "memory made executable with a protection key", "pkey_mprotect(2)")
        .by(&["memory", "-", "private,key", "rw", "rx"])
        .denied(PROTECT, ANONYMOUS),
    technique("anonymous-from-nothing", "memory reserved without rights, written, then made executable", "mmap(2), PROT_NONE")
        .by(&["memory", "-", "private", "-", "rw", "rx"])
        .denied(PROTECT, ANONYMOUS),
    technique("growing-stack", "memory that grows downwards, executable at once", "mmap(2), MAP_GROWSDOWN")
        .by(&["memory", "-", "private,growsdown", "rwx"])
        .denied(MAP, ANONYMOUS),
    technique("own-stack", "the thread's stack made executable", "mprotect(2), PROT_GROWSDOWN; Smashing The Stack, 1996")
        .by(&["memory-stack"])
        .denied(PROTECT, ANONYMOUS),
    technique("huge-pages", "huge pages, executable at once", "mmap(2), MAP_HUGETLB")
        .after("echo 8 > /proc/sys/vm/nr_hugepages")
        .by(&["memory", "-", "private,hugetlb", "rwx"])
        .denied(MAP, MODIFIED)
        .under(&CONFIGURING),
    technique("huge-pages-written-first", "huge pages, written, then made executable", "mm/hugetlb.c: hugetlb_file_setup")
        .after("echo 8 > /proc/sys/vm/nr_hugepages")
        .by(&["memory", "-", "private,hugetlb", "rw", "rx"])
        .denied(PROTECT, MODIFIED)
        .under(&CONFIGURING),
    technique("system-v-segment", "a System V segment attached executable", "shmat(2), SHM_EXEC")
        .by(&["memory-system-v", "at-once"])
        .denied(MAP, FOREIGN),
    technique("system-v-segment-written-first", "a System V segment, written, then made executable", "shmop(2)")
        .by(&["memory-system-v", "later"])
        .denied(PROTECT, NOT_LISTED),
    technique("zero-device", "/dev/zero mapped executable", "zero(4)")
        .after("test -c /dev/zero")
        .by(&["memory", "/dev/zero", "private", "rwx"])
        .denied(MAP, MODIFIED),
    technique("ring-memory", "an io_uring's own memory mapped executable", "io_uring_setup(2); io_uring/memmap.c: io_uring_mmap")
        .by(&["memory-ring"])
        .denied(MAP, FOREIGN),
    technique("memory-file-mapped", "a memory file mapped executable", "memfd_create(2)")
        .by(&["with-memory-file", "plain", "/usr/bin/true", "map-exec", "@"])
        .denied(MAP, FOREIGN),
    technique("memory-file-protected", "a memory file mapped readable, then made executable", "memfd_create(2); mprotect(2)")
        .by(&["with-memory-file", "plain", "/usr/bin/true", "protect-exec", "@"])
        .denied(PROTECT, NOT_LISTED),
    technique("32-bit-call", "memory by the system call of 32-bit programs", "arch/x86/entry/entry_64_compat.S: int 0x80")
        .by(&["memory-32-bit"])
        .denied(MAP, ANONYMOUS),
    technique("old-library-call", "a dropped library by uselib, from a 64-bit program", "uselib(2); CVE-2004-1235")
        .after(
            "python3 -c \"import struct; h = struct.pack('<16sHHIQQQIHHHHHH', b'\\x7fELF\\x02\\x01\\x01', 2, 62, 1, 0x10000000, 64, 0, 0, 64, 56, 1, 0, 0, 0); \
             p = struct.pack('<IIQQQQQQ', 1, 5, 0, 0x10000000, 0x10000000, 4096, 4096, 4096); \
             open('/tmp/old-library', 'wb').write((h + p).ljust(8192, b'\\xc3'))\"; chmod 755 /tmp/old-library",
        )
        .by(&["uselib", "/tmp/old-library"])
        .denied(MAP, MODIFIED)
        .naming("/tmp/old-library"),
    technique("implied-by-personality", "a dropped file mapped readable where that implies executable", "personality(2), READ_IMPLIES_EXEC")
        .after("cp /usr/bin/true /tmp/implied")
        .by(&["read-implies-exec", "memory", "/tmp/implied", "private", "r"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/implied"),
    technique("implied-by-personality-later", "a dropped file made readable where that implies executable", "personality(2), READ_IMPLIES_EXEC")
        .after("cp /usr/bin/true /tmp/implied-later")
        .by(&["memory-implied-later", "/tmp/implied-later"])
        .denied(PROTECT, NOT_LISTED),
    technique("implied-anonymous", "memory without a file where readable implies executable", "personality(2), READ_IMPLIES_EXEC")
        .by(&["read-implies-exec", "memory", "-", "private", "rw"])
        .denied(MAP, ANONYMOUS),
    technique("implied-heap", "a heap that grows where readable implies executable", "personality(2), brk(2); mm/mmap.c: do_brk_flags")
        .by(&["read-implies-exec", "memory-heap"])
        .partial("growing the heap passes no security hook; it takes native code or a raw system call in a listed process"),
    technique("listed-modified", "a listed file's private mapping, changed and made executable", "mmap(2), MAP_PRIVATE")
        .by(&["modified-exec", "/usr/bin/true"])
        .denied(PROTECT, MODIFIED),
    technique("listed-writable", "a listed file mapped writable and executable at once", "mmap(2), MAP_PRIVATE")
        .by(&["write-exec-map", "/usr/bin/true"])
        .denied(MAP, MODIFIED)
        .naming("/usr/bin/true"),
    technique("listed-made-writable", "a listed file's executable mapping made writable", "mprotect(2)")
        .by(&["memory", "/usr/bin/true", "private", "rx", "rwx"])
        .denied(PROTECT, MODIFIED),
    technique("listed-patched-and-back", "a listed file's executable mapping made writable, patched, made executable again", "mprotect(2)")
        .by(&["memory", "/usr/bin/true", "private", "rx", "rw", "rx"])
        .denied(PROTECT, MODIFIED),
    technique("dropped-execute-only", "a dropped file mapped executable and not readable", "mmap(2), PROT_EXEC")
        .after("cp /usr/bin/true /tmp/execute-only")
        .by(&["memory", "/tmp/execute-only", "private", "x"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/execute-only"),
    technique("dropped-shared", "a dropped file mapped shared and executable", "mmap(2), MAP_SHARED")
        .after("cp /usr/bin/true /tmp/shared")
        .by(&["memory", "/tmp/shared", "shared", "rx"])
        .denied(MAP, WRITTEN)
        .naming("/tmp/shared"),
    technique("dropped-shared-written-first", "a dropped file written through its mapping, then made executable", "mmap(2), MAP_SHARED")
        .after("cp /usr/bin/true /tmp/shared-later")
        .by(&["memory", "/tmp/shared-later", "shared", "rw", "rx"])
        .denied(PROTECT, NOT_LISTED),
    technique("dropped-from-nothing", "a dropped file mapped without rights, then made executable", "mmap(2), PROT_NONE")
        .after("cp /usr/bin/true /tmp/from-nothing")
        .by(&["memory", "/tmp/from-nothing", "private", "-", "rx"])
        .denied(PROTECT, NOT_LISTED),
    technique("dropped-with-key", "a dropped file made executable with a protection key", "pkey_mprotect(2)")
        .after("cp /usr/bin/true /tmp/with-key")
        .by(&["memory", "/tmp/with-key", "private,key", "r", "rx"])
        .denied(PROTECT, NOT_LISTED),
    technique("volume-mapped", "a file of a volume mapped executable", "mmap(2)")
        .after("cp /usr/bin/true /volume/mapped")
        .by(&["map-exec", "/volume/mapped"])
        .denied(MAP, FOREIGN)
        .naming("/volume/mapped"),
    technique("volume-protected", "a file of a volume mapped readable, then made executable", "mprotect(2)")
        .after("cp /usr/bin/true /volume/protected")
        .by(&["protect-exec", "/volume/protected"])
        .denied(PROTECT, NOT_LISTED),
];
