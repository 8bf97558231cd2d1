#!/bin/sh
# Runs the guest's command on ttyS1, reports its status on the kernel's console, powers off.
here=${0%/start}
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux LANG=C.UTF-8
mkdir -p /dev/pts /dev/shm /sys/fs/cgroup
mount -t devpts devpts /dev/pts
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t securityfs securityfs /sys/kernel/security
mount -t tracefs tracefs /sys/kernel/tracing
hostname plimsoll-guest
ip link set lo up 2> /dev/null || ifconfig lo up

export PATH=/payload/bin:$PATH
cd /root 2> /dev/null || cd /
if [ -e "$here/interactive" ]; then
    command=$(cat "$here/command")
    stty sane < /dev/ttyS1
    setsid -c sh -c "${command:-exec sh -l}" < /dev/ttyS1 > /dev/ttyS1 2>&1
else
    stty raw -echo < /dev/ttyS1
    echo plimsoll-up > /dev/ttyS1
    sh -c "$(cat "$here/command")" < /dev/null > /dev/ttyS1 2>&1
fi
status=$?
# Changing a terminal's settings waits until all that was written has been sent.
stty raw -echo < /dev/ttyS1
echo "<3>$(cat "$here/nonce") $status" > /dev/kmsg
poweroff -f 2> /dev/null || busybox poweroff -f
