package link

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The programs below do on any link what an 802.1q device does, where the kernel
// has none: tagged frames of one VLAN leave the wire for a link of their own, and
// come back tagged. They are instructions of include/uapi/linux/bpf.h.

const (
	loadWord = unix.BPF_LDX | unix.BPF_MEM | unix.BPF_W
	movImm   = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_K
	movReg   = unix.BPF_ALU64 | unix.BPF_MOV | unix.BPF_X
	andImm   = unix.BPF_ALU64 | unix.BPF_AND | unix.BPF_K
	jumpEq   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpNot  = unix.BPF_JMP | unix.BPF_JNE | unix.BPF_K
	callFunc = unix.BPF_JMP | unix.BPF_CALL
	leave    = unix.BPF_JMP | unix.BPF_EXIT
)

// Offsets in struct __sk_buff, numbers of functions, and verdicts of tc.
const (
	skbVLANPresent = 20
	skbVLANTCI     = 24
	skbVLANPush    = 18
	skbVLANPop     = 19
	redirect       = 23
	verdictNext    = -1 // TC_ACT_UNSPEC
	verdictDrop    = 2  // TC_ACT_SHOT
	vlanMask       = 0xfff
)

// inst is one instruction.
type inst struct {
	op       uint8
	dst, src uint8
	off      int16
	imm      int32
}

// untag sends frames of a VLAN, without their tag, out of the link at index to,
// and leaves all others alone.
func untag(vlan int, to int32) []inst {
	return []inst{
		{op: movReg, dst: 6, src: 1},
		{op: loadWord, dst: 2, src: 6, off: skbVLANPresent},
		{op: jumpEq, dst: 2, imm: 0, off: 9}, // to next
		{op: loadWord, dst: 2, src: 6, off: skbVLANTCI},
		{op: andImm, dst: 2, imm: vlanMask},
		{op: jumpNot, dst: 2, imm: int32(vlan), off: 6}, // to next
		{op: callFunc, imm: skbVLANPop},                 // r1 is still the frame
		{op: jumpNot, dst: 0, imm: 0, off: 6},           // to drop
		{op: movImm, dst: 1, imm: to},
		{op: movImm, dst: 2, imm: 0},
		{op: callFunc, imm: redirect},
		{op: leave},
		{op: movImm, dst: 0, imm: verdictNext},
		{op: leave},
		{op: movImm, dst: 0, imm: verdictDrop},
		{op: leave},
	}
}

// tag sends every frame, with the tag of a VLAN, out of the link at index to.
func tag(vlan int, to int32) []inst {
	return []inst{
		{op: movImm, dst: 2, imm: int32(swap16(unix.ETH_P_8021Q))},
		{op: movImm, dst: 3, imm: int32(vlan)},
		{op: callFunc, imm: skbVLANPush},
		{op: jumpNot, dst: 0, imm: 0, off: 4}, // to drop
		{op: movImm, dst: 1, imm: to},
		{op: movImm, dst: 2, imm: 0},
		{op: callFunc, imm: redirect},
		{op: leave},
		{op: movImm, dst: 0, imm: verdictDrop},
		{op: leave},
	}
}

// swap16 is htons.
func swap16(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

func (i inst) append(b []byte) []byte {
	regs := i.dst | i.src<<4
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		regs = i.src | i.dst<<4 // bit fields follow the byte order
	}
	b = append(b, i.op, regs)
	b = binary.NativeEndian.AppendUint16(b, uint16(i.off))
	return binary.NativeEndian.AppendUint32(b, uint32(i.imm))
}

// loadTries bounds how often a program is given to the kernel anew.
const loadTries = 100

// load has the kernel check a program; the descriptor is to be closed.
func load(prog []inst) (int, error) {
	var code []byte
	for _, i := range prog {
		code = i.append(code)
	}
	license := []byte("Apache-2.0\x00") // none of the functions asks for the GPL
	// The first fields of union bpf_attr for BPF_PROG_LOAD.
	attr := struct {
		typ, count  uint32
		insns, text uint64
		level, size uint32
		log         uint64
		version     uint32
		flags       uint32
	}{
		typ: unix.BPF_PROG_TYPE_SCHED_CLS, count: uint32(len(prog)),
		insns: uint64(uintptr(unsafe.Pointer(&code[0]))), text: uint64(uintptr(unsafe.Pointer(&license[0]))),
	}
	// The kernel's verifier gives up with EAGAIN at any signal, and the runtime sends
	// itself some.
	var fd uintptr
	errno := unix.EAGAIN
	for try := 0; errno == unix.EAGAIN && try < loadTries; try++ {
		fd, _, errno = unix.Syscall(unix.SYS_BPF, unix.BPF_PROG_LOAD, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	}
	runtime.KeepAlive(code)
	runtime.KeepAlive(license)
	if errno != 0 {
		return -1, fmt.Errorf("load a BPF program: %w", errno)
	}
	return int(fd), nil
}
