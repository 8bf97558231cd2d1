//! The kernel programs, in the order in which a program's life meets them. Each only names its hook's arguments.
#![no_std]
#![no_main]
#![expect(clippy::needless_pass_by_value, reason = "the macros hand contexts over by value")]

mod programs;

use aya_ebpf::{
    EbpfContext as _,
    macros::{cgroup_skb, cgroup_sock_addr, lsm, raw_tracepoint},
    programs::{LsmContext, RawTracePointContext, SkBuffContext, SockAddrContext},
};
use plimsoll_abi::{Hook, operation};
use plimsoll_agent_ebpf::{
    cgroup, code, files,
    kernel::{
        Attributes, Binprm, Cgroup, Dentry, File, Path, Vma, is_given, number,
        packet::Packet,
        setattr_has_mapping,
        socket::{Given, Message, Request, Sock, Socket},
    },
    label,
    network::{self, names},
};

/// `int task_alloc(struct task_struct *task, unsigned long clone_flags)`: a fork inherits its parent's label.
#[lsm(hook = "task_alloc")]
fn task_alloc(ctx: LsmContext) -> i32 {
    label::inherit(number(&ctx, 0))
}

/// `void task_free(struct task_struct *task)`: the last reference is gone, and its address may be used again.
#[lsm(hook = "task_free")]
fn task_free(ctx: LsmContext) -> i32 {
    label::forget(number(&ctx, 0));
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

/// `connect` of IPv4, TCP Fast Open included.
#[cgroup_sock_addr(connect4)]
fn connect4(ctx: SockAddrContext) -> i32 {
    let given = Given::from_context(ctx.as_ptr().cast_const().cast());
    proceed(network::reach(given.ipv4(), given.port(), given.protocol(), Hook::Connect))
}

/// `connect` of IPv6, which may be IPv4 inside.
#[cgroup_sock_addr(connect6)]
fn connect6(ctx: SockAddrContext) -> i32 {
    let given = Given::from_context(ctx.as_ptr().cast_const().cast());
    proceed(network::reach(given.ipv6(), given.port(), given.protocol(), Hook::Connect))
}

/// A datagram with an address of its own, IPv4.
#[cgroup_sock_addr(sendmsg4)]
fn sendmsg4(ctx: SockAddrContext) -> i32 {
    let given = Given::from_context(ctx.as_ptr().cast_const().cast());
    proceed(network::reach(given.ipv4(), given.port(), given.protocol(), Hook::Send))
}

/// A datagram with an address of its own, IPv6.
#[cgroup_sock_addr(sendmsg6)]
fn sendmsg6(ctx: SockAddrContext) -> i32 {
    let given = Given::from_context(ctx.as_ptr().cast_const().cast());
    proceed(network::reach(given.ipv6(), given.port(), given.protocol(), Hook::Send))
}

/// `bind` of IPv4.
#[cgroup_sock_addr(bind4)]
fn bind4(ctx: SockAddrContext) -> i32 {
    let given = Given::from_context(ctx.as_ptr().cast_const().cast());
    proceed(network::bind(given.ipv4(), given.port(), given.protocol()))
}

/// `bind` of IPv6.
#[cgroup_sock_addr(bind6)]
fn bind6(ctx: SockAddrContext) -> i32 {
    let given = Given::from_context(ctx.as_ptr().cast_const().cast());
    proceed(network::bind(given.ipv6(), given.port(), given.protocol()))
}

/// A packet that a socket is about to get; all of them pass.
#[cgroup_skb(ingress)]
fn answers(ctx: SkBuffContext) -> i32 {
    names::learn(&Packet(&ctx));
    proceed(0)
}

/// What a cgroup's hook answers: 1 to go ahead, 0 for `EPERM`.
#[inline]
fn proceed(verdict: i32) -> i32 {
    i32::from(verdict == 0)
}

/// `int socket_create(int family, int type, int protocol, int kern)`: `kern` says that the kernel makes it for itself.
#[lsm(hook = "socket_create")]
fn socket_create(ctx: LsmContext) -> i32 {
    if ctx.arg::<u32>(3) != 0 {
        return 0;
    }
    network::create(ctx.arg(0), ctx.arg(1), ctx.arg(2))
}

/// `int socket_listen(struct socket *sock, int backlog)`.
#[lsm(hook = "socket_listen")]
fn socket_listen(ctx: LsmContext) -> i32 {
    network::listen(Socket::from_context(ctx.arg(0)))
}

/// `int socket_accept(struct socket *sock, struct socket *newsock)`: before there is a connection to take.
#[lsm(hook = "socket_accept")]
fn socket_accept(ctx: LsmContext) -> i32 {
    network::accept(Socket::from_context(ctx.arg(0)))
}

/// `int socket_setsockopt(struct socket *sock, int level, int optname)`.
#[lsm(hook = "socket_setsockopt")]
fn socket_setsockopt(ctx: LsmContext) -> i32 {
    network::set_option(Socket::from_context(ctx.arg(0)), ctx.arg(1), ctx.arg(2))
}

/// `int socket_sendmsg(struct socket *sock, struct msghdr *msg, int size)`.
#[lsm(hook = "socket_sendmsg")]
fn socket_sendmsg(ctx: LsmContext) -> i32 {
    network::send(Socket::from_context(ctx.arg(0)), Message::from_context(ctx.arg(1)))
}

/// `int inet_conn_request(const struct sock *sk, struct sk_buff *skb, struct request_sock *req)`: a peer asks for a connection;
/// refused, it gets no answer.
#[lsm(hook = "inet_conn_request")]
fn inet_conn_request(ctx: LsmContext) -> i32 {
    network::incoming(Sock::from_context(ctx.arg(0)), Request::from_context(ctx.arg(2)))
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
