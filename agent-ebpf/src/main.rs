//! The kernel programs, in the order in which a program's life meets them. Each only names its hook's arguments.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the macros hand contexts over by value")]

use aya_ebpf::{
    macros::{lsm, raw_tracepoint},
    programs::{LsmContext, RawTracePointContext},
};
use plimsoll_abi::{Hook, operation};
use plimsoll_agent_ebpf::{
    cgroup, code, files,
    kernel::{Attributes, Binprm, Cgroup, Dentry, File, Path, Task, Vma, is_given, setattr_has_mapping},
    label,
};

/// `int task_alloc(struct task_struct *task, unsigned long clone_flags)`: a fork inherits its parent's label.
#[lsm(hook = "task_alloc")]
fn task_alloc(ctx: LsmContext) -> i32 {
    label::inherit(Task::from_context(ctx.arg(0)))
}

/// `void task_free(struct task_struct *task)`: the last reference is gone, and its address may be used again.
#[lsm(hook = "task_free")]
fn task_free(ctx: LsmContext) -> i32 {
    label::forget(Task::from_context(ctx.arg(0)));
    0
}

/// `int bprm_check_security(struct linux_binprm *bprm)`: once for the script, once for its interpreter, and so on.
#[lsm(hook = "bprm_check_security")]
fn bprm_check_security(ctx: LsmContext) -> i32 {
    code::exec(Binprm::from_context(ctx.arg(0)))
}

/// `int mmap_file(struct file *file, unsigned long reqprot, unsigned long prot, unsigned long flags)`: `prot` is
/// what the mapping gets, READ_IMPLIES_EXEC included; `reqprot` is only what was asked for.
#[lsm(hook = "mmap_file")]
fn mmap_file(ctx: LsmContext) -> i32 {
    code::map(|| is_given(&ctx, 0), File::from_context(ctx.arg(0)), ctx.arg(2), ctx.arg(3))
}

/// `int file_mprotect(struct vm_area_struct *vma, unsigned long reqprot, unsigned long prot)`.
#[lsm(hook = "file_mprotect")]
fn file_mprotect(ctx: LsmContext) -> i32 {
    code::protect(Vma::from_context(ctx.arg(0)), ctx.arg(2))
}

/// `int file_open(struct file *file)`: `open` in all its forms, `execve`, and the kernel's own opening below an overlay.
#[lsm(hook = "file_open")]
fn file_open(ctx: LsmContext) -> i32 {
    files::open(File::from_context(ctx.arg(0)))
}

/// `int path_truncate(const struct path *path)`.
#[lsm(hook = "path_truncate")]
fn path_truncate(ctx: LsmContext) -> i32 {
    files::truncate(Path::from_context(ctx.arg(0)))
}

/// `int path_mknod(const struct path *dir, struct dentry *dentry, umode_t mode, unsigned int dev)`: regular files too.
#[lsm(hook = "path_mknod")]
fn path_mknod(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::CREATE, Hook::Create)
}

/// `int path_mkdir(const struct path *dir, struct dentry *dentry, umode_t mode)`.
#[lsm(hook = "path_mkdir")]
fn path_mkdir(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::CREATE, Hook::Create)
}

/// `int path_symlink(const struct path *dir, struct dentry *dentry, const char *old_name)`.
#[lsm(hook = "path_symlink")]
fn path_symlink(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::CREATE, Hook::Create)
}

/// `int path_unlink(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_unlink")]
fn path_unlink(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::REMOVE, Hook::Remove)
}

/// `int path_rmdir(const struct path *dir, struct dentry *dentry)`.
#[lsm(hook = "path_rmdir")]
fn path_rmdir(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::REMOVE, Hook::Remove)
}

/// `int path_link(struct dentry *old_dentry, const struct path *new_dir, struct dentry *new_dentry)`.
#[lsm(hook = "path_link")]
fn path_link(ctx: LsmContext) -> i32 {
    files::link(Dentry::from_context(ctx.arg(0)), Dentry::from_context(ctx.arg(2)))
}

/// `int path_rename(const struct path *old_dir, struct dentry *old_dentry, const struct path *new_dir, struct dentry
/// *new_dentry, unsigned int flags)`.
#[lsm(hook = "path_rename")]
fn path_rename(ctx: LsmContext) -> i32 {
    files::rename(Dentry::from_context(ctx.arg(1)), Dentry::from_context(ctx.arg(3)), ctx.arg(4))
}

/// `int inode_setattr([struct mnt_idmap *idmap,] struct dentry *dentry, struct iattr *attr)`.
#[lsm(hook = "inode_setattr")]
fn inode_setattr(ctx: LsmContext) -> i32 {
    if setattr_has_mapping() {
        files::attributes(Dentry::from_context(ctx.arg(1)), Attributes::from_context(ctx.arg(2)))
    } else {
        files::attributes(Dentry::from_context(ctx.arg(0)), Attributes::from_context(ctx.arg(1)))
    }
}

/// `int inode_setxattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name, const void *value, size_t size,
/// int flags)`.
#[lsm(hook = "inode_setxattr")]
fn inode_setxattr(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::ATTRIBUTE, Hook::Attribute)
}

/// `int inode_removexattr(struct mnt_idmap *idmap, struct dentry *dentry, const char *name)`.
#[lsm(hook = "inode_removexattr")]
fn inode_removexattr(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::ATTRIBUTE, Hook::Attribute)
}

/// `int inode_set_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name, struct posix_acl *kacl)`:
/// before Linux 6.2 access control lists are extended attributes like others.
#[lsm(hook = "inode_set_acl")]
fn inode_set_acl(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::ATTRIBUTE, Hook::Attribute)
}

/// `int inode_remove_acl(struct mnt_idmap *idmap, struct dentry *dentry, const char *acl_name)`.
#[lsm(hook = "inode_remove_acl")]
fn inode_remove_acl(ctx: LsmContext) -> i32 {
    files::one(Dentry::from_context(ctx.arg(1)), operation::ATTRIBUTE, Hook::Attribute)
}

/// `cgroup_mkdir(struct cgroup *cgrp, const char *path)`: a child cgroup belongs to its parent's workload.
#[raw_tracepoint(tracepoint = "cgroup_mkdir")]
fn cgroup_mkdir(ctx: RawTracePointContext) -> i32 {
    cgroup::created(Cgroup::from_context(ctx.arg(0)));
    0
}

/// `cgroup_rmdir(struct cgroup *cgrp, const char *path)`.
#[raw_tracepoint(tracepoint = "cgroup_rmdir")]
fn cgroup_rmdir(ctx: RawTracePointContext) -> i32 {
    cgroup::removed(Cgroup::from_context(ctx.arg(0)));
    0
}

/// A reachable panic is an endless loop, which the verifier rejects: none can be loaded.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers marked GPL-only need this declaration.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
