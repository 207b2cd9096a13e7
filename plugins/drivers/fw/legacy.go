package fw

import (
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io/fs"
	"iter"
	"os"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"weft.dev/reconcile/host"
)

// xtables is how the legacy tables of one family are read from the kernel:
// include/uapi/linux/netfilter_ipv4/ip_tables.h and its IPv6 twin. The numbers
// of the socket options are the same.
type xtables struct {
	domain, level int
	names         string // lists the tables in use; asking for others would make them
	next          int    // offset of next_offset in an entry
	counters      int    // offset of its two counters
}

var xfamilies = map[int]xtables{
	4: {unix.AF_INET, unix.SOL_IP, "/proc/thread-self/net/ip_tables_names", 90, 96},
	6: {unix.AF_INET6, unix.SOL_IPV6, "/proc/thread-self/net/ip6_tables_names", 142, 152},
}

const (
	soGetInfo    = 64 // IPT_SO_GET_INFO
	soGetEntries = 65 // IPT_SO_GET_ENTRIES
	infoLen      = 84 // sizeof(struct ipt_getinfo); size is its last word
	entriesHead  = 40 // of struct ipt_get_entries, before the entries
	nameLen      = 32 // XT_TABLE_MAXNAMELEN
)

// legacyPrint hashes all legacy tables of a namespace, counters left out, and
// lists the families that have any; false if they cannot be read.
func legacyPrint(h *host.Host, ns string) (sum uint64, has []int, ok bool) {
	err := h.In(ns, func() error {
		hash := fnv.New64a()
		for _, number := range []int{4, 6} {
			x := xfamilies[number]
			list, err := os.ReadFile(x.names)
			if errors.Is(err, fs.ErrNotExist) || err == nil && len(list) == 0 {
				continue
			}
			if err != nil {
				return err
			}
			has = append(has, number)
			fd, err := unix.Socket(x.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
			if err != nil {
				return err
			}
			defer func() { _ = unix.Close(fd) }()
			for _, table := range strings.Fields(string(list)) {
				b, err := x.read(fd, table)
				if err != nil {
					return err
				}
				_, _ = hash.Write(append([]byte{byte(number)}, b...))
			}
		}
		sum = hash.Sum64()
		return nil
	})
	return sum, has, err == nil
}

// read returns the raw entries of a table with zero counters.
func (x xtables) read(fd int, table string) ([]byte, error) {
	b, err := x.entries(fd, table)
	if err != nil {
		return nil, err
	}
	for e := range x.each(b) {
		clear(e[x.counters : x.counters+16])
	}
	return b, nil
}

// each yields the entries of a table, one by one.
func (x xtables) each(b []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for at := entriesHead; at+x.counters+16 <= len(b); {
			step := int(binary.NativeEndian.Uint16(b[at+x.next:]))
			if !yield(b[at:min(at+max(step, x.counters+16), len(b))]) || step == 0 {
				return
			}
			at += step
		}
	}
}

// entries returns the raw entries of a table.
func (x xtables) entries(fd int, table string) ([]byte, error) {
	for try := 0; ; try++ {
		info := make([]byte, infoLen)
		copy(info[:nameLen-1], table)
		if err := getsockopt(fd, x.level, soGetInfo, info); err != nil {
			return nil, err
		}
		size := int(binary.NativeEndian.Uint32(info[infoLen-4:]))
		b := make([]byte, entriesHead+size)
		copy(b[:nameLen-1], table)
		binary.NativeEndian.PutUint32(b[nameLen:], uint32(size))
		err := getsockopt(fd, x.level, soGetEntries, b)
		if errors.Is(err, unix.EAGAIN) && try < 5 {
			continue // it changed its size in between
		}
		if err != nil {
			return nil, err
		}
		return b, nil
	}
}

func getsockopt(fd, level, name int, b []byte) error {
	n := uint32(len(b))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name), uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&n)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
