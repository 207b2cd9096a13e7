# The first process once the host's files are the root. Devices that open a module by their file are made by it.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
exec </dev/null
hostname machine
ip link set lo up
modprobe -a tun ppp_generic
chmod 666 /dev/net/tun # as udev does, and the links
ln -s /proc/self/fd /dev/fd
for n in 0,stdin 1,stdout 2,stderr; do ln -s "/proc/self/fd/${n%,*}" "/dev/${n#*,}"; done
. /run/machine/exec
serve /run/machine &
while :; do wait; done # for orphans too
