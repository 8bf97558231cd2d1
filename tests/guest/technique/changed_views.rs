//! Names that mean something else than in the image.

use super::{CARELESS, CONFIGURING, Technique, technique};

const EXEC: &str = "exec";
const FOREIGN: &str = "foreign";
const WRITTEN: &str = "written";
const ROOT: &str = "mkdir -p /tmp/root/lib64 /tmp/root/lib/x86_64-linux-gnu; cp /lib64/ld-linux-x86-64.so.2 /tmp/root/lib64; \
                    cp /lib/x86_64-linux-gnu/libc.so.6 /tmp/root/lib/x86_64-linux-gnu; cp /usr/bin/true /tmp/root";

pub(super) const ROWS: &[Technique] = &[
    technique("other-mount-namespace", "a dropped program in a mount namespace of its own", "mount_namespaces(7)")
        .after("cp /usr/bin/true /tmp/p")
        .by(&["in-mount-namespace", "true", "exec", "/tmp/p"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/p"),
    technique("other-user-namespace", "a dropped program as root of a user namespace", "user_namespaces(7)")
        .after("cp /usr/bin/true /tmp/user-namespace")
        .by(&["in-user-namespace", "true", "exec", "/tmp/user-namespace"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/user-namespace"),
    technique("mounted-over-listed", "a file mounted over a listed program", "mount(2), MS_BIND")
        .after("cp /usr/bin/true /volume/c")
        .by(&["in-mount-namespace", "mount --bind /volume/c /usr/bin/true", "exec", "/usr/bin/true"])
        .denied(EXEC, FOREIGN)
        .naming("/usr/bin/true"),
    technique("dropped-mounted-over-listed", "a dropped file of the same filesystem mounted over a listed program", "mount(2), MS_BIND")
        .after("cp /usr/bin/true /tmp/over")
        .by(&["in-mount-namespace", "mount --bind /tmp/over /usr/bin/id", "exec", "/usr/bin/id"])
        .denied(EXEC, WRITTEN)
        .naming("/usr/bin/id"),
    technique("filesystem-over-directory", "a filesystem mounted over the directory of programs", "mount(2); tmpfs(5)")
        .by(&[
            "in-mount-namespace",
            "mount -t tmpfs none /mnt; cp /usr/bin/true /mnt/id; mount --bind /mnt /usr/bin",
            "exec",
            "/usr/bin/id",
        ])
        .denied(EXEC, FOREIGN)
        .naming("/usr/bin/id"),
    technique("ramfs", "a program on a ramfs", "kernel.org: filesystems/ramfs-rootfs-initramfs")
        .by(&["in-mount-namespace", "mount -t ramfs none /mnt; cp /usr/bin/true /mnt/a", "exec", "/mnt/a"])
        .denied(EXEC, FOREIGN)
        .naming("/mnt/a"),
    technique("filesystem-of-user-namespace", "a tmpfs that root of a user namespace mounted", "user_namespaces(7); CVE-2022-0185")
        .by(&["in-user-namespace", "mount -t tmpfs none /mnt; cp /usr/bin/true /mnt/a", "exec", "/mnt/a"])
        .denied(EXEC, FOREIGN)
        .naming("/mnt/a"),
    technique("filesystem-nowhere", "a program on a filesystem that is mounted nowhere", "fsopen(2), fsmount(2)")
        .by(&["exec-detached-filesystem", "/usr/bin/true"])
        .denied(EXEC, FOREIGN),
    technique("mount-nowhere", "a dropped program by a copy of the root that is mounted nowhere", "open_tree(2), OPEN_TREE_CLONE")
        .after("cp /usr/bin/true /tmp/mount-nowhere")
        .by(&["exec-detached-mount", "/", "tmp/mount-nowhere"])
        .denied(EXEC, WRITTEN),
    technique("overlay-of-own-layers", "an overlay of the image's own layers, mounted anew", "kernel.org: filesystems/overlayfs")
        .by(&[
            "in-mount-namespace",
            "mount -t overlay none -o lowerdir=/payload/image/layers/1:/payload/image/layers/0 /mnt",
            "exec",
            "/mnt/usr/bin/true",
        ])
        .denied(EXEC, FOREIGN)
        .naming("/mnt/usr/bin/true"),
    technique("overlay-over-root", "an overlay with a dropped directory above the container's root", "CVE-2023-0386; CVE-2021-3493")
        .after("mkdir -p /volume/above/usr/bin; cp /usr/bin/true /volume/above/usr/bin/dropped")
        .by(&["in-mount-namespace", "mount -t overlay none -o lowerdir=/volume/above:/ /mnt", "exec", "/mnt/usr/bin/dropped"])
        .denied(EXEC, FOREIGN)
        .naming("/mnt/usr/bin/dropped"),
    technique("overlay-of-user-namespace", "an overlay that root of a user namespace mounted", "CVE-2021-3493")
        .after("mkdir -p /volume/one /volume/two; cp /usr/bin/true /volume/one/a")
        .by(&[
            "in-user-namespace",
            "mount -t overlay none -o userxattr,lowerdir=/volume/one:/volume/two /mnt",
            "exec",
            "/mnt/a",
        ])
        .denied(EXEC, FOREIGN)
        .naming("/mnt/a"),
    technique("image-of-filesystem", "a program in an ext4 image, by a loop device", "mount(8), Loop-device support; losetup(8)")
        .after("test -e /dev/loop-control || mknod /dev/loop-control c 10 237; for i in 0 1 2 3; do test -e /dev/loop$i || mknod /dev/loop$i b 7 $i; done")
        .by(&["in-mount-namespace", "mount -o loop,ro /payload/filesystem /mnt", "exec", "/mnt/true"])
        .denied(EXEC, FOREIGN)
        .naming("/mnt/true")
        .under(&CARELESS),
    technique("elf-interpreter-replaced", "another dynamic loader mounted over the one that listed programs name", "elf(5), PT_INTERP")
        .after("cp /lib64/ld-linux-x86-64.so.2 /volume/loader")
        .by(&[
            "in-mount-namespace",
            "mount --bind /volume/loader \"$(readlink -f /lib64/ld-linux-x86-64.so.2)\"",
            "exec-or-die",
            "/usr/bin/true",
        ])
        .denied("map", FOREIGN),
    technique("library-mounted-over", "a dropped library mounted over a listed one", "mount(2), MS_BIND")
        .after("cp /payload/lib/libactor_payload.so /volume/library")
        .by(&[
            "in-mount-namespace",
            "mount --bind /volume/library /usr/lib/x86_64-linux-gnu/libselinux.so.1",
            "watched",
            "payload loaded",
            "failed to map segment",
            "/usr/bin/ls",
        ])
        .denied("map", FOREIGN)
        .naming("/usr/lib/x86_64-linux-gnu/libselinux.so.1"),
    technique("script-interpreter-mounted-over", "a dropped file mounted over the interpreter of a listed script", "execve(2), Interpreter scripts")
        .after("cp /usr/bin/true /volume/interpreter")
        .by(&[
            "in-mount-namespace",
            "mount --bind /volume/interpreter \"$(readlink -f /usr/bin/python3)\"",
            "exec",
            "/usr/bin/py3clean",
        ])
        .denied(EXEC, FOREIGN),
    technique("joined-mount-namespace", "a program in the mount namespace of another process", "setns(2)")
        .by(&["in-joined-namespace", "mount -t tmpfs none /mnt; cp /usr/bin/true /mnt/a", "exec", "/mnt/a"])
        .denied(EXEC, FOREIGN)
        .naming("/mnt/a"),
    technique("other-root", "a dropped root file system by chroot", "chroot(2)")
        .after(ROOT)
        .by(&["in-root", "/tmp/root", "exec", "/true"])
        .denied(EXEC, WRITTEN)
        .naming("/true"),
    technique("pivoted-root", "a root file system on a tmpfs by pivot_root", "pivot_root(2)")
        .after(ROOT)
        .by(&["in-pivoted-root", "mount -t tmpfs none /mnt; cp -r /tmp/root/. /mnt", "/mnt", "exec", "/true"])
        .denied(EXEC, FOREIGN)
        .naming("/true"),
    technique("registered-format", "a listed program for which a dropped interpreter is registered", "kernel.org: admin-guide/binfmt-misc")
        .after("cp /usr/bin/true /tmp/registered")
        .by(&["exec-registered", "", "/tmp/registered", "/usr/bin/hostid"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/registered")
        .under(&CONFIGURING),
    technique("registered-format-fixed", "the same, the interpreter opened when it is registered", "kernel.org: admin-guide/binfmt-misc, flag F; Shadow SUID, 2019")
        .after("cp /usr/bin/true /tmp/registered-fixed")
        .by(&["exec-registered", "F", "/tmp/registered-fixed", "/usr/bin/hostid"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/registered-fixed")
        .under(&CONFIGURING),
    technique("registered-format-credentials", "the same, with the listed program's rights and descriptor", "kernel.org: admin-guide/binfmt-misc, flags O and C; Shadow SUID, 2019")
        .after("cp /usr/bin/true /tmp/registered-open")
        .by(&["exec-registered", "OC", "/tmp/registered-open", "/usr/bin/hostid"])
        .denied(EXEC, WRITTEN)
        .naming("/tmp/registered-open")
        .under(&CONFIGURING),
];
