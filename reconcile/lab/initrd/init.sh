#!/bin/busybox sh
# The first process of a guest: its cards, and two channels to its host. What it is told is in /etc/nics and /etc/hostname.
export PATH=/bin
umask 022
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/lib/modules/$module"; done </lib/modules/order
read -r name </etc/hostname
hostname "$name"
ip link set lo up
. /lib/guest/exec

# A port is opened by one at a time, so what reports writes into a pipe.
mkfifo /run/events
events=$(channel weft.events)
cat <>/run/events >"$events" &

uevent /lib/guest/hotplug &
for link in /sys/class/net/*; do
	/lib/guest/nic "${link##*/}" &
done
serve /lib/guest
