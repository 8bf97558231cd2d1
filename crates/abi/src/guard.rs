//! What the kernel programs protect of Plimsoll itself.

/// A file or directory of the node.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlaceKey {
    /// `super_block.s_dev` in the kernel's encoding (`major << 20 | minor`).
    pub dev: u32,
    /// Always zero.
    pub reserved: u32,
    /// `inode.i_ino`
    pub ino: u64,
}

/// How a [`PlaceKey`] is protected from workloads.
pub mod protection {
    /// The file, or everything below the directory, may not be made, written, renamed or removed.
    pub const CONTENT: u32 = 1;
    /// It may not be mounted over, unmounted, moved or removed.
    pub const PLACE: u32 = 2;
    /// A cgroup that the agent is in, or one above it: its control files may not be written.
    pub const CGROUP: u32 = 4;
}

/// A BPF object of Plimsoll's.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// An [`ObjectKind`].
    pub kind: u32,
    /// The kernel's id among objects of its kind.
    pub id: u32,
}

/// Kinds of BPF objects, which the kernel counts apart.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A map.
    Map = 0,
    /// A program.
    Program = 1,
    /// A link.
    Link = 2,
}

/// The agent's last sign of life.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heartbeat {
    /// Nanoseconds since boot; 0 before the first agent.
    pub boot_ns: u64,
    /// The kernel's last sequence number then: denials and audits so far.
    pub sequence: u64,
    /// Denials and audits that had found the ring full by then.
    pub lost: u64,
}

const _: () = {
    assert!(size_of::<PlaceKey>() == 16);
    assert!(size_of::<ObjectKey>() == 8);
    assert!(size_of::<Heartbeat>() == 24);
};
