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

# channel NAME: waits for a virtio port and prints its device.
channel() {
	while :; do
		for port in /sys/class/virtio-ports/*; do
			if read -r is 2>/dev/null <"$port/name" && [ "$is" = "$1" ]; then
				echo "/dev/${port##*/}"
				return
			fi
		done
		usleep 50000
	done
}

# A port is opened by one at a time, so what reports writes into a pipe.
mkfifo /run/events
events=$(channel weft.events)
cat <>/run/events >"$events" &

uevent /lib/guest/hotplug &
for link in /sys/class/net/*; do
	/lib/guest/nic "${link##*/}" &
done

# One command at a time: a line of an id and a script. A caller that went away leaves its command to the next one's kill.
exec 3<>"$(channel weft.exec)"
job= last=
while :; do
	if ! read -r id script <&3; then # nobody calls
		usleep 100000
		continue
	fi
	[ "$id" != "$last" ] || continue # seen twice after a caller was cut off
	last=$id
	if [ -n "$job" ]; then # it leads a group, or is about to
		kill -9 "$job" "-$job" 2>/dev/null
		wait "$job"
	fi
	setsid sh /lib/guest/run "$id" "$script" </dev/null >&3 2>&1 3>&- &
	job=$!
done
