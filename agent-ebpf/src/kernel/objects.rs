//! Structures that only cold hooks look at. All of it is read through the helper that checks addresses.

use plimsoll_abi::PlaceKey;

use super::{File, OFFSETS, Task, frozen, load, probe};

/// Directories above a file that are looked at; none of what is protected lies deeper.
const DEPTH: usize = 8;

kernel_types! {
    /// `struct bpf_map`
    BpfMap,
    /// `struct bpf_prog`
    BpfProgram,
    /// `struct bpf_link`
    BpfLink,
    /// `struct path`
    Path,
    /// `struct vfsmount`
    Mount,
    /// `struct dentry`
    Dentry,
    /// `struct inode`
    Node,
    /// `struct super_block`
    SuperBlock,
    /// `struct sock` of a unix socket
    UnixSocket,
    /// `struct qstr`
    Name,
}

impl BpfMap {
    /// The map's id.
    #[inline(always)]
    pub fn id(self) -> Option<u32> {
        probe(self.0, offset!(map_id))
    }
}

impl BpfProgram {
    /// The program's id.
    #[inline(always)]
    pub fn id(self) -> Option<u32> {
        let aux: *const u8 = probe(self.0, offset!(prog_aux))?;
        probe(aux, offset!(prog_aux_id))
    }
}

impl BpfLink {
    /// The link's id.
    #[inline(always)]
    pub fn id(self) -> Option<u32> {
        probe(self.0, offset!(link_id))
    }
}

impl Path {
    /// Its last component.
    #[inline(always)]
    pub fn dentry(self) -> Option<Dentry> {
        Some(Dentry(probe(self.0, offset!(path_dentry))?))
    }

    /// The mount it is on.
    #[inline(always)]
    pub fn mount(self) -> Option<Mount> {
        Some(Mount(probe(self.0, offset!(path_mnt))?))
    }
}

impl Mount {
    /// What is mounted.
    #[inline(always)]
    pub fn root(self) -> Option<Dentry> {
        Some(Dentry(probe(self.0, offset!(mnt_root))?))
    }
}

impl Node {
    /// Filesystem and number.
    #[inline(always)]
    pub fn place(self) -> Option<PlaceKey> {
        let sb: *const u8 = probe(self.0, offset!(inode_sb))?;
        Some(PlaceKey { dev: probe(sb, offset!(sb_dev))?, reserved: 0, ino: probe(self.0, offset!(inode_ino))? })
    }

    /// `i_mode` and `i_rdev`.
    #[inline(always)]
    pub fn kind(self) -> Option<(u16, u32)> {
        Some((probe(self.0, offset!(inode_mode))?, probe(self.0, offset!(inode_rdev))?))
    }

    /// The filesystem.
    #[inline(always)]
    pub fn super_block(self) -> Option<SuperBlock> {
        Some(SuperBlock(probe(self.0, offset!(inode_sb))?))
    }

    /// The process that an inode of procfs is about, by its number in the initial namespace; `None` if it is about none.
    #[inline(always)]
    pub fn process(self) -> Option<u32> {
        let pid: *const u8 = probe(self.0, offset!(proc_inode_pid))?;
        if pid.is_null() { None } else { probe(pid, offset!(pid_number)) }
    }
}

impl SuperBlock {
    /// Its `*_MAGIC`.
    #[inline(always)]
    pub fn magic(self) -> Option<u64> {
        probe(self.0, offset!(sb_magic))
    }
}

impl Dentry {
    /// Its inode; a name that does not exist yet has none.
    #[inline(always)]
    pub fn node(self) -> Option<Node> {
        let inode: *const u8 = probe(self.0, offset!(dentry_inode))?;
        if inode.is_null() { None } else { Some(Node(inode)) }
    }

    /// The directory it is in; the root is its own.
    #[inline(always)]
    pub fn parent(self) -> Option<Self> {
        Some(Self(probe(self.0, offset!(dentry_parent))?))
    }

    /// Whether it or a directory above it, on the same filesystem, `is_it`.
    #[inline(always)]
    pub fn is_within(self, is_it: impl Fn(PlaceKey) -> bool) -> bool {
        let mut at = self;
        for _ in 0..DEPTH {
            if at.node().and_then(Node::place).is_some_and(&is_it) {
                return true;
            }
            match at.parent() {
                Some(parent) if parent.0 != at.0 => at = parent,
                _ => return false,
            }
        }
        false
    }

    /// The directory or file directly below the filesystem's root that leads here; `None` if that is too far up.
    #[inline(always)]
    pub fn top(self) -> Option<Self> {
        let mut at = self;
        for _ in 0..DEPTH {
            let parent = at.parent()?;
            if parent.parent()?.0 == parent.0 {
                return Some(at);
            }
            at = parent;
        }
        None
    }

    /// The first byte of its name.
    #[inline(always)]
    pub fn initial(self) -> Option<u8> {
        let name: *const u8 = probe(self.0, offset!(dentry_name))?;
        probe(name, 0)
    }
}

impl UnixSocket {
    /// Where it is bound to; `None` for sockets without a path.
    #[inline(always)]
    pub fn dentry(self) -> Option<Dentry> {
        let dentry: *const u8 = probe(self.0, offset!(unix_dentry))?;
        if dentry.is_null() { None } else { Some(Dentry(dentry)) }
    }
}

impl Name {
    /// Whether it is `[io_uring]`.
    #[inline(always)]
    pub fn is_io_uring(self) -> bool {
        const HEAD: u64 = u64::from_ne_bytes(*b"[io_urin");
        const TAIL: u16 = u16::from_ne_bytes(*b"g]");
        let Some(text) = probe::<*const u8>(self.0, offset!(qstr_name)) else { return false };
        probe(text, 0) == Some(HEAD) && probe(text, size_of::<u64>()) == Some(TAIL)
    }
}

impl File {
    /// Whether it was opened for writing.
    #[inline(always)]
    pub fn is_writable(self) -> bool {
        const FMODE_WRITE: u32 = 2;
        load::<u32>(self.0, offset!(file_mode)) & FMODE_WRITE != 0
    }

    /// Its name.
    #[inline(always)]
    pub fn entry(self) -> Option<Dentry> {
        Some(Dentry(probe(self.0, offset!(file_path) + offset!(path_dentry))?))
    }
}

impl Task {
    /// Whether these are the credentials it was given, and not others that the kernel works with on its behalf.
    #[inline(always)]
    pub fn owns_credentials(self, credentials: u64) -> bool {
        probe::<u64>(self.0, offset!(task_real_cred)).is_none_or(|own| own == credentials)
    }

    /// Its thread group's number in the initial namespace, and when that began, in clock ticks since boot.
    #[inline(always)]
    pub fn process(self) -> Option<(u32, u64)> {
        /// `USER_HZ` is 100 on every architecture there is a build for.
        const TICK_NS: u64 = 10_000_000;
        let leader: *const u8 = probe(self.0, offset!(task_group_leader))?;
        let started: u64 = probe(leader, offset!(task_start_boottime))?;
        Some((probe(self.0, offset!(task_tgid))?, started / TICK_NS))
    }
}
