//! Hooks through which Plimsoll itself could be touched.

use aya_ebpf::{
    macros::{fentry, lsm},
    programs::{FEntryContext, LsmContext},
};
use plimsoll_abi::{Operation, Tampering};
use plimsoll_agent_ebpf::{
    hardening::operation,
    kernel::{
        BpfLink, BpfMap, BpfProgram, Mount, Task, UnixSocket,
        objects::{Dentry, Path},
    },
    tamper,
};

/// Programs of hooks that change what a task may use; each has the task as its first argument.
macro_rules! resources {
    ($($hook:literal $name:ident;)*) => {$(
        #[lsm(hook = $hook)]
        fn $name(ctx: LsmContext) -> i32 {
            tamper::task(Task::from_context(ctx.arg(0)), Tampering::Resources)
        }
    )*};
}

resources! {
    "task_setnice" task_setnice;
    "task_setioprio" task_setioprio;
    "task_setscheduler" task_setscheduler;
    "task_setrlimit" task_setrlimit;
    "task_movememory" task_movememory;
}

/// `int task_kill(struct task_struct *p, struct kernel_siginfo *info, int sig, const struct cred *cred)`: every way of sending a
/// signal to a process, `pidfd_send_signal(2)` too.
#[lsm(hook = "task_kill")]
fn task_kill(ctx: LsmContext) -> i32 {
    tamper::signal(Task::from_context(ctx.arg(0)), ctx.arg::<i32>(2))
}

/// `int file_send_sigiotask(struct task_struct *tsk, struct fown_struct *fown, int sig)`: a descriptor's signal, `F_SETOWN`.
#[lsm(hook = "file_send_sigiotask")]
fn file_send_sigiotask(ctx: LsmContext) -> i32 {
    tamper::descriptor_signal(Task::from_context(ctx.arg(0)))
}

/// `int bpf_map(struct bpf_map *map, fmode_t fmode)`: a descriptor for a map, by id or by pin.
#[lsm(hook = "bpf_map")]
fn bpf_map(ctx: LsmContext) -> i32 {
    tamper::map(BpfMap::from_context(ctx.arg(0)))
}

/// `int bpf_prog(struct bpf_prog *prog)`.
#[lsm(hook = "bpf_prog")]
fn bpf_prog(ctx: LsmContext) -> i32 {
    tamper::program(BpfProgram::from_context(ctx.arg(0)))
}

/// `int bpf_link_new_fd(struct bpf_link *link)`: a descriptor for a link, by id or by pin, has no hook.
#[fentry(function = "bpf_link_new_fd")]
fn bpf_link_new_fd(ctx: FEntryContext) -> i32 {
    tamper::link(BpfLink::from_context(ctx.arg(0)));
    0
}

/// `int sb_mount(const char *dev_name, const struct path *path, const char *type, unsigned long flags, void *data)`.
#[lsm(hook = "sb_mount")]
fn guard_mount(ctx: LsmContext) -> i32 {
    match tamper::mount(Path::from_context(ctx.arg(1)), ctx.arg(3)) {
        0 => operation(Operation::Mount),
        refused => refused,
    }
}

/// `int sb_umount(struct vfsmount *mnt, int flags)`.
#[lsm(hook = "sb_umount")]
fn guard_umount(ctx: LsmContext) -> i32 {
    match tamper::unmount(Mount::from_context(ctx.arg(0))) {
        0 => operation(Operation::Mount),
        refused => refused,
    }
}

/// `int move_mount(const struct path *from_path, const struct path *to_path)`.
#[lsm(hook = "move_mount")]
fn guard_move_mount(ctx: LsmContext) -> i32 {
    match tamper::move_mount(Path::from_context(ctx.arg(0)), Path::from_context(ctx.arg(1))) {
        0 => operation(Operation::Mount),
        refused => refused,
    }
}

/// `int sb_pivotroot(const struct path *old_path, const struct path *new_path)`.
#[lsm(hook = "sb_pivotroot")]
fn guard_pivotroot(_ctx: LsmContext) -> i32 {
    match tamper::rearrange() {
        0 => operation(Operation::Mount),
        refused => refused,
    }
}

/// Programs of hooks `(struct inode *dir, struct dentry *dentry, ...)` that end a name.
macro_rules! removals {
    ($($hook:literal $name:ident;)*) => {$(
        #[lsm(hook = $hook)]
        fn $name(ctx: LsmContext) -> i32 {
            tamper::remove(Dentry::from_context(ctx.arg(1)))
        }
    )*};
}

removals! {
    "inode_unlink" guard_unlink;
    "inode_rmdir" guard_rmdir;
}

/// Programs of hooks that begin a name, with the position of its dentry.
macro_rules! creations {
    ($($hook:literal $name:ident $position:literal;)*) => {$(
        #[lsm(hook = $hook)]
        fn $name(ctx: LsmContext) -> i32 {
            tamper::make(Dentry::from_context(ctx.arg($position)))
        }
    )*};
}

creations! {
    "inode_create" guard_create 1;
    "inode_mkdir" guard_mkdir 1;
    "inode_symlink" guard_symlink 1;
    "inode_link" guard_link 2;
}

/// `int inode_rename(struct inode *old_dir, struct dentry *old_dentry, struct inode *new_dir, struct dentry *new_dentry)`.
#[lsm(hook = "inode_rename")]
fn guard_rename(ctx: LsmContext) -> i32 {
    match tamper::remove(Dentry::from_context(ctx.arg(1))) {
        0 => tamper::remove(Dentry::from_context(ctx.arg(3))),
        refused => refused,
    }
}

/// `int path_truncate(const struct path *path)`: truncation by name, without opening.
#[lsm(hook = "path_truncate")]
fn guard_truncate(ctx: LsmContext) -> i32 {
    tamper::truncate(Path::from_context(ctx.arg(0)))
}

/// `int unix_stream_connect(struct sock *sock, struct sock *other, struct sock *newsk)`.
#[lsm(hook = "unix_stream_connect")]
fn guard_connect(ctx: LsmContext) -> i32 {
    tamper::connect(UnixSocket::from_context(ctx.arg(1)))
}
