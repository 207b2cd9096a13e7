#!/bin/busybox sh
# The first process of a machine that shares its host's files (9p, read only) below a layer in its memory.
export PATH=/bin
umask 022
mount -t proc proc /proc
mount -t devtmpfs dev /dev
while read -r module; do insmod "/lib/modules/$module"; done </lib/modules/order
read -r modules </etc/modules
mkdir /host /memory /root
mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=524288 host /host
mount -t tmpfs -o size=75% memory /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work root /root
mount -t proc proc /root/proc
mount -t sysfs sysfs /root/sys
mount -t cgroup2 cgroup /root/sys/fs/cgroup
mount -t devtmpfs dev /root/dev
mkdir -p /root/dev/pts /root/dev/shm /root/lib/modules
mount -t devpts -o mode=600,ptmxmode=666 devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t tmpfs -o mode=755 run /root/run
mount -o bind "/root$modules" /root/lib/modules
mkdir /root/run/machine /root/run/lock
cp /lib/guest/* /root/run/machine
umount /proc /dev
exec switch_root /root /bin/sh /run/machine/shared
