//! The kernels that tests run on, and where their files are.

use std::{fmt, fs, path::PathBuf, str::FromStr};

use anyhow::{Context as _, Result};

/// A kernel series of the test matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernel {
    /// Debian 12's own.
    V6_1,
    /// Debian 13's, as Debian 12's security archive ships it.
    V6_12,
}

/// No kernel of the matrix has this name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKernel(String);

/// A kernel's image and modules: a directory with `vmlinuz` and `modules/NN-name.ko`, uncompressed, in the order to load.
#[derive(Debug, Clone)]
pub struct KernelFiles {
    kernel: Kernel,
    directory: PathBuf,
}

impl Kernel {
    /// The whole matrix, oldest first.
    pub const ALL: [Self; 2] = [Self::V6_1, Self::V6_12];

    /// The series, such as `6.1`.
    pub fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Kernel {
    type Err = UnknownKernel;

    fn from_str(name: &str) -> Result<Self, UnknownKernel> {
        Self::ALL.into_iter().find(|kernel| kernel.name() == name).ok_or_else(|| UnknownKernel(name.to_owned()))
    }
}

impl fmt::Display for UnknownKernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = Kernel::ALL.map(Kernel::name).join(", ");
        write!(f, "no kernel `{}`: there are {known}", self.0)
    }
}

impl std::error::Error for UnknownKernel {}

impl KernelFiles {
    /// The files of `kernel` in `directory`.
    pub fn new(kernel: Kernel, directory: impl Into<PathBuf>) -> Self {
        Self { kernel, directory: directory.into() }
    }

    /// The series, such as `6.1`.
    pub fn name(&self) -> &'static str {
        self.kernel.name()
    }

    /// The bootable image.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// Name and bytes of each module, in the order to load them.
    pub(super) fn modules(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let directory = self.directory.join("modules");
        let entries = fs::read_dir(&directory).with_context(|| format!("cannot read {}", directory.display()))?;
        let mut paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
        paths.sort();
        let read = |path: PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            Ok((name, bytes))
        };
        paths.into_iter().map(read).collect()
    }
}
