#!/bin/busybox sh
# First process of a guest: loads modules, mounts the disks, and starts /plimsoll/start on the root disk, if there is one.
/bin/busybox --install -s /bin
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do
    insmod "$module" || echo "<3>plimsoll: cannot load $module" > /dev/kmsg
done

# disk SERIAL: prints the device that has it, within 10 s.
disk() {
    tries=0
    while [ $tries -lt 100 ]; do
        for entry in /sys/block/vd*; do
            if [ "$(cat "$entry/serial" 2> /dev/null)" = "$1" ]; then
                echo "/dev/${entry##*/}"
                return
            fi
        done
        usleep 100000
        tries=$((tries + 1))
    done
    echo "<3>plimsoll: no disk $1" > /dev/kmsg
    poweroff -f
}

root=
grep -q plimsoll_root /proc/cmdline && root=$(disk root)
if [ -z "$root" ]; then
    exec /plimsoll/start
fi
mount -t ext4 "$root" /newroot
if grep -q plimsoll_payload /proc/cmdline; then
    mount -t ext4 -o ro "$(disk payload)" /newroot/payload
fi
cd /newroot
mount -t tmpfs -o mode=755 run run
cp -r /plimsoll run/plimsoll
umount /proc /sys
mount -t proc proc proc
mount -t sysfs sysfs sys
mount --move /dev dev
mount -t tmpfs tmp tmp
exec switch_root /newroot /run/plimsoll/start
