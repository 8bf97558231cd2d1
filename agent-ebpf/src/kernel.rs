//! The only file that knows kernel structures. Offsets come from the running kernel's BTF.
//!
//! Pointers that a hook hands over are typed for the verifier as long as they are followed field by field with loads
//! of the exact width; such a load cannot fault. Past the end of a typed structure (an overlay inode lies around its
//! `struct inode`) and for addresses read from memory, `bpf_probe_read_kernel` is used, which can fail and says so.

use core::mem::MaybeUninit;

use aya_ebpf::helpers::{
    bpf_d_path, bpf_get_current_task_btf, bpf_probe_read_kernel, bpf_probe_read_kernel_str_bytes, generated,
};
use aya_ebpf::{EbpfContext as _, programs::LsmContext};
use plimsoll_abi::{COMM_LEN, LONG_WORDS, MAX_DEPTH, MAX_NAME, Offsets, PATH_LEN, PathKey, SHORT_NAME};

/// Set before the programs are loaded, then frozen: constants to the verifier.
#[unsafe(no_mangle)]
static OFFSETS: Offsets = Offsets::ZERO;

/// `OVERLAYFS_SUPER_MAGIC`
const OVERLAY_MAGIC: u64 = 0x794c_7630;

/// One member of [`OFFSETS`].
macro_rules! offset {
    ($field:ident) => {
        frozen(&OFFSETS.$field)
    };
}

/// Loads an offset in a way the compiler may not fold: the value is set after it has done its work.
#[inline(always)]
fn frozen(offset: &u64) -> usize {
    // SAFETY: a reference is valid for reads.
    unsafe { core::ptr::read_volatile(offset) as usize }
}

/// Loads a field of a structure whose type the verifier knows.
#[inline(always)]
fn load<T: Copy>(base: *const u8, offset: usize) -> T {
    // SAFETY: the verifier accepts the load only inside the typed structure and makes it fault-safe.
    unsafe { core::ptr::read_volatile(base.wrapping_add(offset).cast()) }
}

/// Reads memory whose type the verifier does not know.
#[inline(always)]
fn probe<T: Copy>(base: *const u8, offset: usize) -> Option<T> {
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel(base.wrapping_add(offset).cast()) }.ok()
}

/// Reads memory that only a report needs: zero if it cannot be read.
#[inline(always)]
fn probe_or_zero<T: Copy>(base: *const u8, offset: usize) -> T {
    let mut value = MaybeUninit::<T>::uninit();
    let source = base.wrapping_add(offset).cast();
    // SAFETY: the destination has as many bytes as are asked for, and the helper checks the source.
    let _zeroed = unsafe { generated::bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, source) };
    // SAFETY: the helper has written all of it, zeros if the address was bad; `T` is made of integers.
    unsafe { value.assume_init() }
}

macro_rules! kernel_types {
    ($($(#[$doc:meta])* $name:ident,)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub struct $name(*const u8);

        impl $name {
            /// Takes a hook's argument.
            #[inline(always)]
            pub fn from_context(pointer: *const u8) -> Self {
                Self(pointer)
            }
        }
    )*};
}

pub mod packet;
pub mod socket;

kernel_types! {
    /// `struct linux_binprm`
    Binprm,
    /// `struct file`
    File,
    /// `struct vm_area_struct`
    Vma,
    /// `struct task_struct`
    Task,
    /// `struct cgroup`
    Cgroup,
    /// `struct inode`, as a file has it: on an overlay, the overlay's own.
    OwnInode,
    /// `struct dentry`
    Dentry,
    /// `struct path`
    Path,
    /// `struct iattr`
    Attributes,
}

/// A hook's argument as a plain number: the verifier lets nobody calculate with a typed pointer.
#[inline(always)]
pub fn number(context: &LsmContext, argument: u32) -> u64 {
    let mut value = 0_u64;
    // SAFETY: the context is the program's own, and `value` is valid for writes. It stays 0 if there is no such argument.
    let _no_such_argument = unsafe { generated::bpf_get_func_arg(context.as_ptr(), argument, &raw mut value) };
    value
}

/// Whether a hook's argument is a pointer at all, asked of its plain value.
///
/// Kernels before the fix of 2025 tell the verifier that `mmap_file`'s file is never null, and the verifier then removes
/// a check of the typed pointer as one that cannot fail. The same value read through a helper is a number, and is checked.
#[inline(always)]
pub fn is_given(context: &LsmContext, argument: u32) -> bool {
    number(context, argument) != 0
}

/// The address of the task that runs, as a number.
#[inline(always)]
pub fn current_address() -> u64 {
    // SAFETY: the helper has no preconditions.
    unsafe { generated::bpf_get_current_task() }
}

pub mod objects;

pub use objects::{BpfLink, BpfMap, BpfProgram, Mount, Name, Node, SuperBlock, UnixSocket};

impl Binprm {
    /// The file that this pass examines: the program, or the interpreter of the last one.
    #[inline(always)]
    pub fn file(self) -> File {
        File(load(self.0, offset!(bprm_file)))
    }
}

/// Where a file's content lies.
#[expect(clippy::struct_excessive_bools, reason = "they are facts, each of its own")]
#[derive(Clone, Copy)]
pub struct Inode {
    /// Everything below could be read.
    pub readable: bool,
    /// `s_dev` of the filesystem the file was opened on.
    pub mounted_dev: u32,
    /// That filesystem is an overlay.
    pub overlay: bool,
    /// The overlay has an upper dentry for it.
    pub upper: bool,
    /// The overlay has a lower dentry for it, which `dev` and `ino` name.
    pub lower: bool,
    /// `s_dev` of the real inode's filesystem.
    pub dev: u32,
    /// The real inode: the lower one where there is one, else the file's own.
    pub ino: u64,
    /// Bytes.
    pub size: u64,
}

impl Inode {
    /// No inode, or one that could not be read. A value rather than an `Option`: the compiler leaves the inside of a
    /// `None` undefined, and the verifier refuses registers that hold nothing.
    pub const UNKNOWN: Self =
        Self { readable: false, mounted_dev: 0, overlay: false, upper: false, lower: false, dev: 0, ino: 0, size: 0 };
}

impl File {
    /// No file.
    pub const NONE: Self = Self(core::ptr::null());

    /// Whether there is a file at all.
    #[inline(always)]
    pub fn exists(self) -> bool {
        !self.0.is_null()
    }

    /// The inode of the filesystem it was opened on.
    #[inline(always)]
    pub fn own_inode(self) -> OwnInode {
        OwnInode(load(self.0, offset!(file_inode)))
    }

    /// Looks through an overlay at the real inode.
    #[inline(always)]
    pub fn inode(self) -> Inode {
        let inode = self.own_inode().0;
        let sb: *const u8 = load(inode, offset!(inode_sb));
        let mounted_dev: u32 = load(sb, offset!(sb_dev));
        let own = Inode {
            readable: true,
            mounted_dev,
            overlay: load::<u64>(sb, offset!(sb_magic)) == OVERLAY_MAGIC,
            upper: false,
            lower: false,
            dev: mounted_dev,
            ino: load(inode, offset!(inode_ino)),
            size: load(inode, offset!(inode_size)),
        };
        if own.overlay { through_overlay(inode, own).unwrap_or(Inode::UNKNOWN) } else { own }
    }

    /// Writes the path as the task sees it; `false` if only the last component could be had.
    #[inline(always)]
    pub fn path_into(self, buffer: &mut [u8; PATH_LEN]) -> bool {
        let path = self.0.wrapping_add(offset!(file_path));
        // SAFETY: the buffer has as many bytes as are offered, and `path` is the file's own `f_path`.
        let length = unsafe { bpf_d_path(path.cast_mut().cast(), buffer.as_mut_ptr().cast(), PATH_LEN as u32) };
        length > 0 || {
            self.name_into(buffer);
            false
        }
    }

    /// Writes the last component of the path.
    #[inline(always)]
    pub fn name_into(self, buffer: &mut [u8; PATH_LEN]) {
        let dentry: *const u8 = load(self.0, offset!(file_path) + offset!(path_dentry));
        let written = probe::<*const u8>(dentry, offset!(dentry_name)).is_some_and(|name| {
            // SAFETY: the helper checks the address and ends the copy with NUL.
            unsafe { bpf_probe_read_kernel_str_bytes(name, buffer) }.is_ok()
        });
        if !written {
            buffer[0] = 0;
        }
    }
}

impl OwnInode {
    /// For maps that keep something with an inode.
    #[inline(always)]
    pub fn as_ptr(self) -> *mut u8 {
        self.0.cast_mut()
    }

    /// `s_dev` of its filesystem.
    #[inline(always)]
    pub fn dev(self) -> u32 {
        let sb: *const u8 = load(self.0, offset!(inode_sb));
        load(sb, offset!(sb_dev))
    }

    /// Whether this inode, which must be an overlay's, certainly has no upper file now.
    #[inline(always)]
    pub fn is_untouched(self) -> bool {
        probe::<*const u8>(self.0, offset!(ovl_upper)).is_some_and(<*const u8>::is_null)
    }
}

/// Reads an overlay inode's upper dentry and first lower path. Nothing of the upper one is ever cached: a file that is lower
/// now is upper as soon as somebody writes to it.
#[inline(always)]
fn through_overlay(inode: *const u8, own: Inode) -> Option<Inode> {
    // `__upperdentry` and what describes the lower layers are neighbours; the agent refuses kernels where they are not.
    let [upper, first, second] = probe::<[*const u8; 3]>(inode, offset!(ovl_upper))?;
    let upper = !upper.is_null();
    let dentry = lower_dentry(first, second)?;
    if dentry.is_null() {
        return Some(Inode { upper, ..own });
    }
    let real: *const u8 = probe(dentry, offset!(dentry_inode))?;
    let sb: *const u8 = probe(real, offset!(inode_sb))?;
    Some(Inode { upper, lower: true, dev: probe(sb, offset!(sb_dev))?, ino: probe(real, offset!(inode_ino))?, ..own })
}

/// The first lower dentry, null if there is none; `None` if memory could not be read. What is given are the words after
/// `__upperdentry`: a `struct ovl_path`, or a pointer to a `struct ovl_entry` and nothing.
#[inline(always)]
fn lower_dentry(first: *const u8, second: *const u8) -> Option<*const u8> {
    if offset!(ovl_lower_is_pointer) == 0 {
        return Some(second);
    }
    if first.is_null() {
        return Some(first);
    }
    // `unsigned int __numlower; struct ovl_path __lowerstack[]`, where a path is a layer and a dentry.
    let [number, _layer, dentry] = probe::<[u64; 3]>(first, 0)?;
    Some(if number as u32 == 0 { 0 } else { dentry } as *const u8)
}

impl Vma {
    /// The mapped file; for an overlay file this is the real file below it.
    #[inline(always)]
    pub fn file(self) -> File {
        File(load(self.0, offset!(vma_file)))
    }

    /// Whether pages of a private mapping were written, and so differ from the file.
    #[inline(always)]
    pub fn has_private_pages(self) -> bool {
        !load::<*const u8>(self.0, offset!(vma_anon)).is_null()
    }

    /// Whether the mapping is executable already.
    #[inline(always)]
    pub fn is_executable(self) -> bool {
        const VM_EXEC: u64 = 4;
        load::<u64>(self.0, offset!(vma_flags)) & VM_EXEC != 0
    }
}

impl Task {
    /// The task that runs.
    #[inline(always)]
    pub fn current() -> Self {
        // SAFETY: the helper has no preconditions.
        Self(unsafe { bpf_get_current_task_btf() }.cast_const().cast())
    }

    /// Inode number of the task's mount namespace; 0 while the task exits.
    #[inline(always)]
    pub fn mnt_ns(self) -> u32 {
        let nsproxy: *const u8 = load(self.0, offset!(task_nsproxy));
        if nsproxy.is_null() {
            return 0;
        }
        let mnt_ns: *const u8 = load(nsproxy, offset!(nsproxy_mnt));
        load(mnt_ns, offset!(mnt_ns_inum))
    }

    /// The file that the task's program is; it may have none.
    #[inline(always)]
    pub fn executable(self) -> File {
        let mm: *const u8 = load(self.0, offset!(task_mm));
        if mm.is_null() { File::NONE } else { File(load(mm, offset!(mm_exe_file))) }
    }

    /// The parent; the first task is its own.
    #[inline(always)]
    #[must_use]
    pub fn parent(self) -> Self {
        Self(probe_or_zero::<u64>(self.0, offset!(task_parent)) as *const u8)
    }

    /// Thread group id in the initial namespace.
    #[inline(always)]
    pub fn tgid(self) -> u32 {
        probe_or_zero(self.0, offset!(task_tgid))
    }

    /// Writes the task's name.
    #[inline(always)]
    pub fn comm_into(self, buffer: &mut [u8; COMM_LEN]) {
        *buffer = probe_or_zero(self.0, offset!(task_comm));
    }
}

impl Cgroup {
    /// The cgroup's id, as `bpf_get_current_cgroup_id` gives it.
    #[inline(always)]
    pub fn id(self) -> Option<u64> {
        let kn: *const u8 = probe(self.0, offset!(cgroup_kn))?;
        probe(kn, offset!(kn_id))
    }

    /// The parent's id.
    #[inline(always)]
    pub fn parent_id(self) -> Option<u64> {
        // `cgroup_subsys_state` is the first member of `struct cgroup`; the agent refuses kernels where it is not.
        let parent: *const u8 = probe(self.0, offset!(cgroup_parent))?;
        if parent.is_null() { None } else { Self(parent).id() }
    }
}

impl File {
    /// `f_mode`.
    #[inline(always)]
    pub fn mode(self) -> u32 {
        load(self.0, offset!(file_mode))
    }

    /// `f_flags`; while the file is being opened they say how.
    #[inline(always)]
    pub fn flags(self) -> u32 {
        load(self.0, offset!(file_flags))
    }

    /// `i_mode`: the kind of file, and its permissions.
    #[inline(always)]
    pub fn inode_mode(self) -> u16 {
        load(load::<*const u8>(self.0, offset!(file_inode)), offset!(inode_mode))
    }

    /// The name by which it was opened.
    #[inline(always)]
    pub fn dentry(self) -> Dentry {
        Dentry(load(self.0, offset!(file_path) + offset!(path_dentry)))
    }
}

impl Path {
    /// The name.
    #[inline(always)]
    pub fn dentry(self) -> Dentry {
        Dentry(load(self.0, offset!(path_dentry)))
    }
}

impl Attributes {
    /// `ATTR_*`: which of them are to change.
    #[inline(always)]
    pub fn valid(self) -> u32 {
        load(self.0, offset!(iattr_valid))
    }
}

/// Which argument of `inode_setattr` is the dentry on this kernel; the attributes follow it.
#[inline(always)]
pub fn setattr_has_mapping() -> bool {
    offset!(setattr_dentry) == 1
}

/// Where a name lies.
#[derive(Clone, Copy)]
pub struct Filesystem {
    /// `s_dev`.
    pub dev: u32,
    /// It is an overlay.
    pub overlay: bool,
}

impl Dentry {
    /// No name.
    pub const NONE: Self = Self(core::ptr::null());

    /// The filesystem it is on.
    #[inline(always)]
    pub fn filesystem(self) -> Filesystem {
        let sb: *const u8 = load(self.0, offset!(dentry_sb));
        Filesystem { dev: load(sb, offset!(sb_dev)), overlay: load::<u64>(sb, offset!(sb_magic)) == OVERLAY_MAGIC }
    }

    /// The directory it is in; a root is its own.
    #[inline(always)]
    #[must_use]
    pub fn parent(self) -> Self {
        Self(load(self.0, offset!(dentry_parent)))
    }

    /// Whether both are the same name.
    #[inline(always)]
    pub fn is(self, other: Self) -> bool {
        self.0 as u64 == other.0 as u64
    }

    /// Whether its place in the tree was never looked up.
    #[inline(always)]
    pub fn is_disconnected(self) -> bool {
        const DCACHE_DISCONNECTED: u32 = 0x20;
        load::<u32>(self.0, offset!(dentry_flags)) & DCACHE_DISCONNECTED != 0
    }

    /// Whether something has this name.
    #[inline(always)]
    pub fn is_positive(self) -> bool {
        !load::<*const u8>(self.0, offset!(dentry_inode)).is_null()
    }

    /// Number of what has this name, as its own filesystem counts; 0 if nothing has.
    #[inline(always)]
    pub fn ino(self) -> u64 {
        let inode: *const u8 = load(self.0, offset!(dentry_inode));
        if inode.is_null() { 0 } else { load(inode, offset!(inode_ino)) }
    }

    /// Bytes of the name.
    #[inline(always)]
    pub fn length(self) -> u32 {
        load(self.0, offset!(dentry_length))
    }

    /// The name's bytes.
    #[inline(always)]
    fn name(self) -> *const u8 {
        load(self.0, offset!(dentry_name))
    }

    /// The name's hash; 0 if it cannot be read.
    #[inline(always)]
    pub fn component(self, key: &PathKey) -> u64 {
        let length = self.length();
        if length >= SHORT_NAME as u32 {
            return long_component(self.name(), length, key);
        }
        let mut hash = key.begin();
        let short = offset!(dentry_short);
        let mut at = 0;
        // Without leaving early, as below.
        while at < SHORT_NAME {
            let word: u64 = load(self.0, short + at);
            hash = key.absorb(hash, up_to(word, u64::from(length).wrapping_sub(at as u64)));
            at += 8;
        }
        key.finish(hash, u64::from(length))
    }

    /// The last eight bytes of the name, the last one uppermost; zeros before a shorter one.
    #[inline(always)]
    pub fn last_bytes(self) -> u64 {
        let length = self.length() as usize;
        let name = self.name();
        if length >= 8 {
            probe_or_zero(name, length - 8)
        } else {
            // A name that short is in the dentry, which goes on after it.
            let shifted = 8 * (8 - length as u32);
            if shifted >= 64 { 0 } else { load::<u64>(self.0, offset!(dentry_short)) << shifted }
        }
    }

    /// Writes the last `depth` components up from this one, each ended by NUL, and an empty one; `false` if not all fit.
    #[inline(always)]
    pub fn components_into(self, depth: u32, buffer: &mut [u8; PATH_LEN]) -> bool {
        let mut dentry = self;
        let mut at = 0_usize;
        let mut written = 0;
        while written < MAX_DEPTH as u32 && written < depth {
            let length = dentry.length() as usize & 255;
            if at > 255 {
                return false;
            }
            let place = buffer.as_mut_ptr().wrapping_add(at);
            // SAFETY: at most 255 bytes from at most the 255th; the helper checks the source.
            let _zeroed =
                unsafe { generated::bpf_probe_read_kernel(place.cast(), length as u32, dentry.name().cast()) };
            at += length;
            // SAFETY: at most the 510th byte.
            unsafe { *buffer.as_mut_ptr().wrapping_add(at) = 0 };
            // SAFETY: the one after it.
            unsafe { *buffer.as_mut_ptr().wrapping_add(at + 1) = 0 };
            at += 1;
            dentry = dentry.parent();
            written += 1;
        }
        true
    }
}

/// The first `length` bytes of a little-endian word, zeros after them; none of them if `length` is negative.
#[inline(always)]
fn up_to(word: u64, length: u64) -> u64 {
    let none = opaque((length.wrapping_sub(1) >> 63).wrapping_neg());
    let all = opaque((7_u64.wrapping_sub(length) >> 63).wrapping_neg());
    let some = !(u64::MAX << ((8 * length) & 63));
    word & (all | some) & !none
}

/// The hash of a name that does not fit into its dentry; 0 if it cannot be read, or is too long.
///
/// As many words are read for every such name, the last one again and again: leaving the loop early, or a branch in it, would
/// be one more way that the verifier follows, for every directory on the path.
#[inline(always)]
fn long_component(name: *const u8, length: u32, key: &PathKey) -> u64 {
    if length > MAX_NAME as u32 {
        return 0;
    }
    let last = u64::from(length) - 8;
    let (mut hash, mut failures, mut at) = (key.begin(), 0, 0);
    while at < LONG_WORDS as u64 {
        // All ones if the word lies before the last one.
        let before = opaque(((8 * at).wrapping_sub(last) >> 63).wrapping_neg());
        let offset = last.wrapping_add((8 * at).wrapping_sub(last) & before);
        let mut word = 0_u64;
        let source = name.wrapping_add(offset as usize).cast();
        // SAFETY: `word` is valid for writes of its size, and the helper checks the source.
        failures |= unsafe { generated::bpf_probe_read_kernel((&raw mut word).cast(), 8, source) };
        hash = key.absorb(hash, word);
        at += 1;
    }
    if failures == 0 { key.finish(hash, u64::from(length)) } else { 0 }
}

/// Makes the verifier know nothing of a number's history: it would check all that follows anew for every value it can have.
#[inline(always)]
pub(crate) fn forget(number: &mut u64) {
    let place = core::ptr::from_mut(number).cast();
    // SAFETY: the number is on the program's own stack, which can always be read, and replaced by itself.
    let _read = unsafe { generated::bpf_probe_read_kernel(place, size_of::<u64>() as u32, place) };
}

/// The same number, of which the compiler knows nothing, so that it makes no branch of it and drops no check.
#[inline(always)]
pub(crate) fn opaque(number: u64) -> u64 {
    let mut opaque = number;
    // SAFETY: moves a register onto itself.
    unsafe { core::arch::asm!("{0} = {0}", inout(reg) opaque, options(pure, nomem, nostack)) };
    opaque
}
