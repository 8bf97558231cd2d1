//! The kernel's own tests of what the kernel programs sit in the way of, out of Debian's package of the kernel's source.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::key;
use crate::{
    pins, setup,
    step::{self, Step},
    workspace::Workspace,
};

const TESTS: &str = "tools/testing/selftests";
/// Folders with the programs that are built from them. Left out is what needs libraries or modules beyond Debian's kernel
/// (`gup_test`, `hmm-tests`, `ksm_tests`, `migration`, `memfd_secret`, `mlock-random-test`), what takes half a minute or gigabytes
/// (`vmaccess`, `pidfd_test`, `pidfd_poll_test`, `userfaultfd`, `khugepaged`, `compaction_test`, `transhuge-stress`, `virtual_address_range`), and a
/// race whose counts differ from run to run (`rename_attack_test`).
const PROGRAMS: &[(&str, &[&str])] = &[
    ("exec", &["execveat", "load_address", "non-regular", "null-argv", "recursion-depth"]),
    ("memfd", &["memfd_test"]),
    (
        "vm",
        &[
            "hugepage-mmap",
            "hugepage-mremap",
            "hugepage-shm",
            "hugetlb-madvise",
            "madv_populate",
            "map_fixed_noreplace",
            "map_hugetlb",
            "map_populate",
            "mlock2-tests",
            "mremap_dontunmap",
            "mremap_test",
            "on-fault-limit",
            "soft-dirty",
            "va_128TBswitch",
        ],
    ),
    ("ptrace", &["get_syscall_info", "peeksiginfo"]),
    (
        "proc",
        &[
            "fd-001-lookup",
            "fd-002-posix-eq",
            "fd-003-kthread",
            "proc-empty-vm",
            "proc-fsconfig-hidepid",
            "proc-loadavg-001",
            "proc-multiple-procfs",
            "proc-pid-vm",
            "proc-self-map-files-001",
            "proc-self-map-files-002",
            "proc-self-syscall",
            "proc-self-wchan",
            "proc-subset-pid",
            "proc-tid0",
            "proc-uptime-001",
            "proc-uptime-002",
            "read",
            "self",
            "setns-dcache",
            "setns-sysvipc",
            "thread-self",
        ],
    ),
    ("clone3", &["clone3", "clone3_clear_sighand", "clone3_set_tid"]),
    ("openat2", &["openat2_test", "resolve_test"]),
    ("mount_setattr", &["mount_setattr_test"]),
    ("pidfd", &["pidfd_getfd_test", "pidfd_open_test", "pidfd_setns_test", "pidfd_wait"]),
];
/// Sources that the programs of a folder share.
const SHARED: &[(&str, &str)] =
    &[("memfd", "memfd/common.c"), ("vm", "vm/vm_util.c"), ("openat2", "openat2/helpers.c")];

/// The folder of built tests, each in the folder that it has in the kernel's source.
pub(super) fn build(workspace: &Workspace) -> Result<PathBuf> {
    let built = workspace.guest().join("selftests");
    let built_from = format!("{} {PROGRAMS:?}", pins::SELFTESTS);
    if key::is_fresh(&built, &built_from) {
        return Ok(built);
    }
    let step = Step::start("the kernel's own tests");
    key::forget(&built)?;
    let scratch = tempfile::Builder::new().prefix("selftests-").tempdir_in(workspace.guest())?;
    let source = unpack(scratch.path())?;
    for (folder, programs) in PROGRAMS {
        fs::create_dir_all(built.join(folder)).with_context(|| format!("cannot create {}", built.display()))?;
        for program in *programs {
            compile(&source, folder, program, &built)?;
        }
    }
    complete_exec(&built.join("exec"))?;
    key::remember(&built, &built_from)?;
    step.done("built");
    Ok(built)
}

/// Fetches the kernel's source, and unpacks the tests of it alone. Answers their folder.
fn unpack(scratch: &Path) -> Result<PathBuf> {
    let (package, source) = (scratch.join("package"), scratch.join("source"));
    for directory in [&package, &source] {
        fs::create_dir(directory)?;
    }
    setup::unpack(pins::SELFTESTS, &package)?;
    let archive = package.join(format!("usr/src/{}.tar.xz", pins::SELFTESTS));
    let mut tar = Command::new("tar");
    tar.args(["--extract", "--xz", "--strip-components=1", "--file"]).arg(archive).arg("--directory").arg(&source);
    step::quietly(tar.arg(format!("{}/{TESTS}", pins::SELFTESTS)))?;
    Ok(source.join(TESTS))
}

fn compile(source: &Path, folder: &str, program: &str, built: &Path) -> Result<()> {
    let mut compiler = Command::new("gcc");
    compiler.current_dir(source).args(["-O2", "-w", "-D_GNU_SOURCE", "-I."]).arg(format!("{folder}/{program}.c"));
    compiler.args(SHARED.iter().filter(|(of, _)| *of == folder).map(|(_, file)| file));
    if program == "load_address" {
        compiler.args(["-fPIE", "-pie", "-Wl,-z,max-page-size=0x200000"]);
    }
    step::quietly(compiler.arg("-o").arg(built.join(folder).join(program)).args(["-lpthread", "-lrt"]))
}

/// The files that `execveat` wants beside itself, as its Makefile makes them.
fn complete_exec(directory: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let (program, script) = (directory.join("execveat"), directory.join("script"));
    fs::create_dir(directory.join("subdir"))?;
    fs::write(&script, "#!/bin/sh\nexit $*\n")?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    std::os::unix::fs::symlink("execveat", directory.join("execveat.symlink"))?;
    fs::copy(&program, directory.join("execveat.denatured"))?;
    fs::set_permissions(directory.join("execveat.denatured"), fs::Permissions::from_mode(0o644))?;
    Ok(fs::write(directory.join("Makefile"), "")?)
}
