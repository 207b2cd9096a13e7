#!/bin/sh
# nic LINK: sets a card up as the line of its MAC in /etc/nics says, by DHCP where there is none.
link=$1
[ "$link" != lo ] && mkdir "/run/nic.$link" 2>/dev/null || exit 0
read -r mac <"/sys/class/net/$link/address"
dhcp=yes metric=1000 mtu= addresses= gateway= dns= domain=
while IFS='|' read -r of a b c d e f g; do
	[ "$of" = "$mac" ] && dhcp=$a metric=$b mtu=$c addresses=$d gateway=$e dns=$f domain=$g
done </etc/nics
[ -z "$mtu" ] || ip link set "$link" mtu "$mtu"
ip link set "$link" up
for address in $addresses; do ip addr add "$address" dev "$link"; done
[ -z "$gateway" ] || ip route add default via "$gateway" dev "$link" metric "$metric" onlink
export metric mac
mkdir -p /run/resolv
{
	for server in $dns; do echo "nameserver $server"; done
	[ -z "$domain" ] || echo "search $domain"
} >"/run/resolv/$metric-$link"
cat /run/resolv/* >/etc/resolv.conf
[ "$dhcp" = yes ] || exit 0
echo $$ >"/run/nic.$link/pid"
read -r name </etc/hostname
exec udhcpc -f -i "$link" -s /lib/guest/dhcp -t 3 -T 1 -A 1 -O mtu -O staticroutes -O search -x "hostname:$name"
