# Sourced by the first process of a guest: its channels to its host, and what runs the commands that come through one.

# channel NAME: waits for a virtio port and prints its device.
channel() {
	while :; do
		for port in /sys/class/virtio-ports/*; do
			if read -r is 2>/dev/null <"$port/name" && [ "$is" = "$1" ]; then
				echo "/dev/${port##*/}"
				return
			fi
		done
		busybox usleep 50000
	done
}

# serve DIR: one command at a time, by the script DIR/run: a line of an id and a script. A caller that went away leaves its
# command to the next one's kill.
serve() {
	exec 3<>"$(channel weft.exec)"
	job= last=
	while :; do
		if ! read -r id script <&3; then # nobody calls
			busybox usleep 100000
			continue
		fi
		[ "$id" != "$last" ] || continue # seen twice after a caller was cut off
		last=$id
		if [ -n "$job" ]; then # it leads a group, or is about to
			kill -9 "$job" "-$job" 2>/dev/null
			wait "$job"
		fi
		setsid sh "$1/run" "$id" "$script" </dev/null >&3 2>&1 3>&- &
		job=$!
	done
}
