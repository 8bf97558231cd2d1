//! The kernel programs, in the order in which a program's life meets them. Each only names its hook's arguments.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the macros hand contexts over by value")]

mod programs;

use aya_ebpf::{
    macros::{lsm, raw_tracepoint},
    programs::{LsmContext, RawTracePointContext},
};
use plimsoll_agent_ebpf::{
    cgroup, code,
    kernel::{Binprm, Cgroup, File, Task, Vma, is_given},
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
