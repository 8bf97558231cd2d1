//! The running kernel's layout, as the kernel programs need it. A field that is missing means: do not enforce.

use std::{fs, io, path::Path};

use plimsoll_abi::Offsets;

use super::btf::{Btf, BtfError};

const KERNEL_BTF: &str = "/sys/kernel/btf/vmlinux";
const OVERLAY_BTF: &str = "/sys/kernel/btf/overlay";

/// Why the kernel's layout is not known.
#[derive(Debug, thiserror::Error)]
pub enum OffsetsError {
    #[error("cannot read `{path}`")]
    Read {
        path: &'static str,
        #[source]
        source: io::Error,
    },
    #[error("cannot understand `{path}`")]
    Parse {
        path: &'static str,
        #[source]
        source: BtfError,
    },
    #[error("this kernel's structures are not the ones Plimsoll knows")]
    Layout(#[from] BtfError),
    #[error("overlayfs is not loaded, so its layout is unknown; load it with `modprobe overlay`")]
    NoOverlay,
    #[error("field `{1}` of `struct {0}` is not where Plimsoll expects it on this kernel")]
    Elsewhere(&'static str, &'static str),
    #[error("`struct {0}` does not begin with `{1}` on this kernel")]
    NotFirst(&'static str, &'static str),
}

/// Reads the layout of the running kernel.
pub fn read() -> Result<Offsets, OffsetsError> {
    let mut btf =
        Btf::parse(&read_file(KERNEL_BTF)?).map_err(|source| OffsetsError::Parse { path: KERNEL_BTF, source })?;
    if !btf.has("ovl_inode", "vfs_inode") {
        if !Path::new(OVERLAY_BTF).exists() {
            return Err(OffsetsError::NoOverlay);
        }
        btf.append(&read_file(OVERLAY_BTF)?).map_err(|source| OffsetsError::Parse { path: OVERLAY_BTF, source })?;
    }
    resolve(&btf)
}

fn read_file(path: &'static str) -> Result<Vec<u8>, OffsetsError> {
    fs::read(path).map_err(|source| OffsetsError::Read { path, source })
}

fn resolve(btf: &Btf) -> Result<Offsets, OffsetsError> {
    ensure_first(btf)?;
    let at = |structure, field| btf.offset(structure, field);
    let overlay = overlay(btf)?;
    Ok(Offsets {
        bprm_file: at("linux_binprm", "file")?,
        file_inode: at("file", "f_inode")?,
        file_path: at("file", "f_path")?,
        path_dentry: at("path", "dentry")?,
        inode_sb: at("inode", "i_sb")?,
        inode_ino: at("inode", "i_ino")?,
        inode_size: at("inode", "i_size")?,
        sb_magic: at("super_block", "s_magic")?,
        sb_dev: at("super_block", "s_dev")?,
        dentry_inode: at("dentry", "d_inode")?,
        dentry_name: at("dentry", "d_name")? + at("qstr", "name")?,
        vma_file: at("vm_area_struct", "vm_file")?,
        vma_flags: at("vm_area_struct", "vm_flags")?,
        vma_anon: at("vm_area_struct", "anon_vma")?,
        task_nsproxy: at("task_struct", "nsproxy")?,
        task_tgid: at("task_struct", "tgid")?,
        task_comm: at("task_struct", "comm")?,
        task_parent: at("task_struct", "real_parent")?,
        nsproxy_mnt: at("nsproxy", "mnt_ns")?,
        mnt_ns_inum: at("mnt_namespace", "ns")? + at("ns_common", "inum")?,
        cgroup_kn: at("cgroup", "kn")?,
        cgroup_parent: at("cgroup_subsys_state", "parent")?,
        kn_id: at("kernfs_node", "id")?,
        socket_sk: at("socket", "sk")?,
        sk_family: at("sock_common", "skc_family")?,
        sk_num: at("sock_common", "skc_num")?,
        sk_address: at("sock_common", "skc_rcv_saddr")?,
        sk_address6: at("sock_common", "skc_v6_rcv_saddr")?,
        sk_protocol: at("sock", "sk_protocol")?,
        sk_cgroup: at("sock", "sk_cgrp_data")? + at("sock_cgroup_data", "cgroup")?,
        peer_address: at("sock_common", "skc_daddr")?,
        peer_address6: at("sock_common", "skc_v6_daddr")?,
        msg_control: at("msghdr", "msg_control")?,
        msg_control_len: at("msghdr", "msg_controllen")?,
        file_mode: at("file", "f_mode")?,
        inode_mode: at("inode", "i_mode")?,
        inode_rdev: at("inode", "i_rdev")?,
        dentry_parent: at("dentry", "d_parent")?,
        path_mnt: at("path", "mnt")?,
        mnt_sb: at("vfsmount", "mnt_sb")?,
        mnt_root: at("vfsmount", "mnt_root")?,
        task_group_leader: at("task_struct", "group_leader")?,
        task_start_boottime: at("task_struct", "start_boottime")?,
        map_id: at("bpf_map", "id")?,
        prog_aux: at("bpf_prog", "aux")?,
        prog_aux_id: at("bpf_prog_aux", "id")?,
        link_id: at("bpf_link", "id")?,
        proc_inode_pid: at("proc_inode", "pid")?.wrapping_sub(at("proc_inode", "vfs_inode")?),
        pid_number: at("pid", "numbers")? + at("upid", "nr")?,
        qstr_name: at("qstr", "name")?,
        task_real_cred: at("task_struct", "real_cred")?,
        unix_dentry: at("unix_sock", "path")? + at("path", "dentry")?,
        file_flags: at("file", "f_flags")?,
        dentry_sb: at("dentry", "d_sb")?,
        dentry_flags: at("dentry", "d_flags")?,
        dentry_length: at("dentry", "d_name")? + at("qstr", "len")?,
        dentry_short: short_name(btf)?,
        iattr_valid: at("iattr", "ia_valid")?,
        setattr_dentry: u64::from(btf.parameters("bpf_lsm_inode_setattr")? == 3),
        task_mm: at("task_struct", "mm")?,
        mm_exe_file: at("mm_struct", "exe_file")?,
        ..overlay
    })
}

/// That these fields begin their structures: the programs take the one's address for the other's.
fn ensure_first(btf: &Btf) -> Result<(), OffsetsError> {
    for (structure, field) in [("cgroup", "self"), ("sock", "__sk_common"), ("request_sock", "__req_common")] {
        if btf.offset(structure, field)? != 0 {
            return Err(OffsetsError::NotFirst(structure, field));
        }
    }
    Ok(())
}

/// A dentry's own room for short names, which got another name in 6.14.
fn short_name(btf: &Btf) -> Result<u64, BtfError> {
    let field = if btf.has("dentry", "d_iname") { "d_iname" } else { "d_shortname" };
    btf.offset("dentry", field)
}

/// Kernels before 6.5 keep the lower path inside the overlay inode, later ones behind a pointer. Either follows the upper
/// dentry at once, which the programs rely on to read both together.
fn overlay(btf: &Btf) -> Result<Offsets, OffsetsError> {
    const WORD: u64 = 8;
    let in_place = |structure, field, expected| match btf.offset(structure, field)? {
        found if found == expected => Ok(()),
        _ => Err(OffsetsError::Elsewhere(structure, field)),
    };
    let inode = btf.offset("ovl_inode", "vfs_inode")?;
    let upper = btf.offset("ovl_inode", "__upperdentry")?;
    in_place("ovl_path", "dentry", WORD)?;
    let is_pointer = btf.has("ovl_inode", "oe");
    if is_pointer {
        in_place("ovl_inode", "oe", upper + WORD)?;
        in_place("ovl_entry", "__numlower", 0)?;
        in_place("ovl_entry", "__lowerstack", WORD)?;
    } else {
        in_place("ovl_inode", "lowerpath", upper + WORD)?;
    }
    Ok(Offsets { ovl_upper: upper.wrapping_sub(inode), ovl_lower_is_pointer: is_pointer.into(), ..Offsets::ZERO })
}
