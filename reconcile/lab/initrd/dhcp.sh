#!/bin/sh
# Called by udhcpc: does what the lease says, and tells the host.
lease=/run/nic.$interface/lease
case $1 in
deconfig)
	read -r old 2>/dev/null <"$lease" && ip addr del "$old" dev "$interface"
	rm -f "$lease"
	;;
bound | renew)
	[ -z "$mtu" ] || ip link set "$interface" mtu "$mtu"
	if read -r old 2>/dev/null <"$lease" && [ "$old" != "$ip/$mask" ]; then ip addr del "$old" dev "$interface"; fi
	ip addr replace "$ip/$mask" dev "$interface"
	echo "$ip/$mask" >"$lease"
	set -- "$1" $staticroutes
	if [ $# -gt 1 ]; then # RFC 3442: then the router option means nothing
		event=$1
		shift
		while [ $# -gt 1 ]; do
			if [ "$2" = 0.0.0.0 ]; then
				ip route replace "$1" dev "$interface" metric "$metric"
			else
				ip route replace "$1" via "$2" dev "$interface" metric "$metric" onlink
			fi
			shift 2
		done
		set -- "$event"
	else
		for via in $router; do
			ip route replace default via "$via" dev "$interface" metric "$metric" onlink
			break
		done
	fi
	{
		for server in $dns; do echo "nameserver $server"; done
		[ -z "$domain" ] || echo "search $domain"
	} >"/run/resolv/$metric-$interface"
	cat /run/resolv/* >/etc/resolv.conf
	;;
*) exit 0 ;;
esac
printf 'event=%s\nmac=%s\nip=%s\nmask=%s\nmtu=%s\ndns=%s\ndomain=%s\nrouter=%s\nstaticroutes=%s\n\n' \
	"$1" "$mac" "$ip" "$mask" "$mtu" "$dns" "$domain" "$router" "$staticroutes" >/run/events
