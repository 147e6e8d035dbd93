#!/bin/bash
# A real systemd as process 1 of a box: PID, mount, UTS, IPC and cgroup namespaces of its own, on a
# throw-away copy of / (an overlay whose upper layer is memory). The host's own init, its files and
# its cgroups are out of its reach; when the first process here is killed, nothing of it is left.
# There is no network namespace, so that what listens on 127.0.0.1 outside is seen inside.
#
#   box.sh outside DIRECTORY CGROUP PYTHON SITE CHECKOUT
#
# DIRECTORY holds the log of systemd and is the same inside; CGROUP is a directory made for the box in
# the host's cgroup2 tree. PYTHON (a prefix), SITE (site-packages) and CHECKOUT appear as /opt/python,
# /opt/site and /opt/checkout: where they really are may be closed to the units.
set -eu

outside() {
    echo $$ > "$2/cgroup.procs"
    exec setpriv --pdeathsig=KILL -- unshare --mount --pid --fork --uts --ipc --cgroup \
        --kill-child=KILL --propagation private "$0" inside "$@"
}

inside() {
    local directory=$1 memory=$1/memory
    mkdir "$memory"
    mount -t tmpfs -o mode=755 tmpfs "$memory"
    mkdir "$memory"/{upper,work,root}
    mount -t overlay -o "lowerdir=/,upperdir=$memory/upper,workdir=$memory/work" overlay "$memory/root"
    cd "$memory/root"

    mount -t proc proc proc
    # The kernel's settings are the host's, too.
    mount --bind proc/sys proc/sys
    mount -o remount,bind,ro proc/sys
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs -o mode=755 tmpfs run
    mount -t tmpfs -o mode=1777 tmpfs tmp
    mkdir -p ".$directory"
    mount --bind "$directory" ".$directory"
    devices
    programs "$3" "$4" "$5"
    configuration

    mkdir .old
    pivot_root . .old
    cd /
    umount -l /.old
    exec env -i container=box PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        /lib/systemd/systemd --system --log-target=journal --log-level=notice --show-status=no \
        --unit=box.target < /dev/null > "$directory/systemd.log" 2>&1
}

devices() {
    mount -t tmpfs -o mode=755 tmpfs dev
    local name major minor
    while read -r name major minor; do
        mknod -m 666 "dev/$name" c "$major" "$minor"
    done <<< $'null 1 3\nzero 1 5\nfull 1 7\nrandom 1 8\nurandom 1 9\ntty 5 0'
    mkdir dev/pts dev/shm
    mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs -o mode=1777 tmpfs dev/shm
    ln -s /proc/self/fd dev/fd
}

programs() {
    mkdir -p opt/python opt/site opt/checkout opt/jobd/bin
    mount --bind "$1" opt/python
    mount --bind "$2" opt/site
    mount --bind "$3" opt/checkout
    local name
    for name in jobd jobctl; do
        printf '%s\n' '#!/bin/sh' 'export PYTHONPATH=/opt/checkout:/opt/site' \
            'export LD_LIBRARY_PATH=/opt/python/lib PYTHONDONTWRITEBYTECODE=1' \
            "exec /opt/python/bin/python3 -m $name \"\$@\"" > "opt/jobd/bin/$name"
        chmod 755 "opt/jobd/bin/$name"
    done
}

# Nothing of the host is enabled here; only the journal is started.
configuration() {
    rm -rf etc/systemd/system/* lib/systemd/system/{sysinit,local-fs,sockets,basic}.target.wants
    rm -f etc/machine-id
    echo 00000000000000000000000000000001 > etc/machine-id
    echo box > etc/hostname
    grep -q '^jobd:' etc/passwd || echo 'jobd:x:990:990::/var/lib/jobd:/usr/sbin/nologin' >> etc/passwd
    grep -q '^jobd:' etc/group || echo 'jobd:x:990:' >> etc/group
    mkdir -p etc/jobd srv/app
    printf '%s\n' '[Unit]' 'Requires=systemd-journald.service' 'After=systemd-journald.service' \
        'DefaultDependencies=no' 'AllowIsolate=yes' > etc/systemd/system/box.target
}

"$@"
