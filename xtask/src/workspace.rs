//! Where things are.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use plimsoll_tests::vm::{Kernel, KernelFiles};

use crate::pins;

/// The places that the commands read and write; everything they make is under `target`.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
    /// Where cargo builds the host's programs; the same unless `CARGO_TARGET_DIR` says otherwise.
    built: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn find() -> Result<Self> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().context("this program's package has no parent folder")?.to_owned();
        let target = root.join("target");
        let built = env::var_os("CARGO_TARGET_DIR").map_or_else(|| target.clone(), |built| root.join(built));
        fs::create_dir_all(target.join("guest")).with_context(|| format!("cannot create {}", target.display()))?;
        Ok(Self { root, target, built })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Tools that are installed for this checkout alone.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// Where the kernel programs are built.
    pub(crate) fn kernel_programs(&self) -> PathBuf {
        self.target.join("bpf")
    }

    /// Where the host's programs are built for guests.
    pub(crate) fn release(&self) -> PathBuf {
        self.built.join("release")
    }

    /// Where the host's programs are built for tests of this machine.
    pub(crate) fn debug(&self) -> PathBuf {
        self.built.join("debug")
    }

    /// What guests are made of.
    pub(crate) fn guest(&self) -> PathBuf {
        self.target.join("guest")
    }

    /// Temporary files of running guests.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.guest().join("run")
    }

    /// Where the answer about KVM is kept.
    pub(crate) fn accelerator(&self) -> PathBuf {
        self.guest().join("accelerator")
    }

    pub(crate) fn kernel_directory(&self, kernel: Kernel) -> PathBuf {
        self.guest().join("kernels").join(kernel.name())
    }

    pub(crate) fn kernel(&self, kernel: Kernel) -> KernelFiles {
        KernelFiles::new(kernel, self.kernel_directory(kernel))
    }

    /// `PATH` with this checkout's tools and LLVM's in front.
    pub(crate) fn path(&self) -> Result<OsString> {
        let llvm = PathBuf::from(format!("/usr/lib/llvm-{}/bin", pins::LLVM));
        let own = [self.tools().join("bin"), llvm];
        let inherited = env::var_os("PATH").unwrap_or_default();
        env::join_paths(own.into_iter().chain(env::split_paths(&inherited))).context("PATH holds a colon in a folder")
    }
}
