//! The protobufs agents and collector speak, and the bounds both keep; those of container runtimes. No logic.
#![forbid(unsafe_code)]

/// Version 1 of the protocol.
pub mod v1 {
    #![expect(
        clippy::pedantic,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unused_qualifications,
        reason = "generated"
    )]
    tonic::include_proto!("plimsoll.v1");
}

/// NRI: what a container runtime asks its plugins.
pub mod nri {
    #![expect(clippy::pedantic, reason = "generated")]
    tonic::include_proto!("nri.pkg.api.v1alpha1");
}

/// The envelopes that NRI's messages travel in.
pub mod ttrpc {
    tonic::include_proto!("ttrpc");
}

/// CRI: what Kubernetes asks a container runtime.
pub mod cri {
    #![expect(
        clippy::all,
        clippy::pedantic,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        unused_qualifications,
        reason = "generated"
    )]
    tonic::include_proto!("runtime.v1");
}

/// Bounds that are part of the protocol: the collector refuses what is beyond them, so the agent never sends it.
pub mod limits {
    /// Bytes of one encoded batch.
    pub const BATCH_BYTES: usize = 4 << 20;
    /// Events in one batch.
    pub const BATCH_EVENTS: usize = 1024;
    /// Bytes of one encoded event.
    pub const EVENT_BYTES: usize = 64 << 10;
    /// Bytes of a path.
    pub const PATH: usize = 4096;
    /// Bytes of a name, an id, a digest, a version.
    pub const NAME: usize = 512;
    /// Bytes of an image reference or a package URL.
    pub const REFERENCE: usize = 2048;
    /// Labels of a workload.
    pub const LABELS: usize = 128;
    /// Bytes of a label's key or value.
    pub const LABEL: usize = 1024;
    /// Ancestors of a process.
    pub const ANCESTORS: usize = 16;
    /// Loss counts in one batch.
    pub const LOSSES: usize = 32;
}
