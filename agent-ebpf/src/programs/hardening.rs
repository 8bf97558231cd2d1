//! Hooks of operations that a policy may forbid.

use aya_ebpf::{
    macros::{fentry, fexit, lsm},
    programs::{FEntryContext, FExitContext, LsmContext},
};
use plimsoll_abi::{Injection, Operation, Tampering};
use plimsoll_agent_ebpf::{
    hardening::{self, inject, inject_or_death, operation, operation_or_death},
    kernel::{File, Name, Task, number},
    tamper,
};

/// Programs of hooks that mean one operation, whatever their arguments.
macro_rules! operations {
    ($($hook:literal $name:ident $operation:ident;)*) => {$(
        #[lsm(hook = $hook)]
        fn $name(_ctx: LsmContext) -> i32 {
            operation(Operation::$operation)
        }
    )*};
}

operations! {
    "bpf" bpf Bpf;
    "perf_event_open" perf_event_open PerfEvent;
    "kernel_read_file" kernel_read_file KernelCode;
    "kernel_load_data" kernel_load_data KernelCode;
    "sb_remount" sb_remount Mount;
    "sb_set_mnt_opts" sb_set_mnt_opts Mount;
    "userns_create" userns_create UserNamespace;
    "key_alloc" key_alloc Keyring;
    "key_permission" key_permission Keyring;
    "uring_sqpoll" uring_sqpoll IoUring;
    "uring_override_creds" uring_override_creds IoUring;
    "syslog" syslog KernelLog;
    "settime" settime Clock;
    "path_chroot" path_chroot Chroot;
}

/// `int ptrace_access_check(struct task_struct *child, unsigned int mode)`: also behind `process_vm_readv(2)`,
/// `process_vm_writev(2)`, `pidfd_getfd(2)` and the opening of `/proc/PID/mem`. Looking at a process, as `ps` does, is another mode.
#[lsm(hook = "ptrace_access_check")]
fn ptrace_access_check(ctx: LsmContext) -> i32 {
    const PTRACE_MODE_ATTACH: u32 = 2;
    if ctx.arg::<u32>(1) & PTRACE_MODE_ATTACH == 0 {
        return 0;
    }
    match tamper::task(Task::from_context(ctx.arg(0)), Tampering::Trace) {
        0 => inject(Injection::Attach),
        refused => refused,
    }
}

/// `int ptrace_traceme(struct task_struct *parent)`.
#[lsm(hook = "ptrace_traceme")]
fn ptrace_traceme(_ctx: LsmContext) -> i32 {
    inject(Injection::TraceMe)
}

/// `int mem_open(struct inode *inode, struct file *file)`, returning: `/proc/PID/mem` was opened. Another process's memory has been
/// through `ptrace_access_check`; one's own has not, and writing to it changes code that nothing may write to.
#[fexit(function = "mem_open")]
fn mem_open(ctx: FExitContext) -> i32 {
    let opened = ctx.arg::<i32>(2) == 0;
    if opened && File::from_context(ctx.arg(1)).is_writable() {
        inject_or_death(Injection::OpenMemory);
    }
    0
}

/// `ssize_t mem_write(struct file *file, const char *buf, size_t count, loff_t *ppos)`: for descriptors that came from elsewhere.
#[fentry(function = "mem_write")]
fn mem_write(_ctx: FEntryContext) -> i32 {
    inject_or_death(Injection::WriteMemory);
    0
}

/// `setns(2)`, which has no hook: the task dies before it runs in the namespace.
#[fentry(function = "__x64_sys_setns")]
fn setns(_ctx: FEntryContext) -> i32 {
    operation_or_death(Operation::EnterNamespace);
    0
}

/// The same by the 32-bit system call.
#[fentry(function = "__ia32_sys_setns")]
fn setns_compat(_ctx: FEntryContext) -> i32 {
    operation_or_death(Operation::EnterNamespace);
    0
}

/// `int inode_init_security_anon(struct inode *inode, const struct qstr *name, const struct inode *context_inode)`: how a ring of
/// io_uring comes into being; the hook `uring_allowed` is younger.
#[lsm(hook = "inode_init_security_anon")]
fn inode_init_security_anon(ctx: LsmContext) -> i32 {
    if Name::from_context(ctx.arg(1)).is_io_uring() { operation(Operation::IoUring) } else { 0 }
}

/// `int inode_mknod(struct inode *dir, struct dentry *dentry, umode_t mode, dev_t dev)`.
#[lsm(hook = "inode_mknod")]
fn hardening_mknod(ctx: LsmContext) -> i32 {
    hardening::make_node(ctx.arg::<u16>(2), ctx.arg::<u32>(3))
}

/// `int capable(const struct cred *cred, struct user_namespace *ns, int cap, unsigned int opts)`: only for what the task has.
#[lsm(hook = "capable")]
fn capable(ctx: LsmContext) -> i32 {
    hardening::capability(number(&ctx, 0), ctx.arg::<u32>(2), ctx.arg::<u32>(3))
}

/// `int file_open(struct file *file)`, for workloads that reach beyond their own files.
#[lsm(hook = "file_open")]
fn guard_open(ctx: LsmContext) -> i32 {
    hardening::open(File::from_context(ctx.arg(0)))
}
