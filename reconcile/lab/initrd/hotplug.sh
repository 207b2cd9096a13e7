#!/bin/sh
# Called with each event of the kernel's in the environment, one at a time: it must not stay.
[ "$SUBSYSTEM" = net ] || exit 0
case $ACTION in
add) /lib/guest/nic "$INTERFACE" & ;;
remove)
	read -r pid <"/run/nic.$INTERFACE/pid" && kill "$pid"
	rm -rf "/run/nic.$INTERFACE" /run/resolv/*-"$INTERFACE"
	;;
esac
