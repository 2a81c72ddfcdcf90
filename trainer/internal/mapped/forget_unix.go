//go:build unix

package mapped

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Forget lets the system take back the memory of a part of a mapped file that has been read. It may be read again, from the disk.
func Forget(part []byte) {
	page := uintptr(os.Getpagesize())
	if len(part) == 0 {
		return
	}
	skip := int(-uintptr(unsafe.Pointer(&part[0])) & (page - 1)) // to the first whole page
	if whole := (len(part) - skip) &^ (int(page) - 1); whole > 0 {
		_ = unix.Madvise(part[skip:skip+whole], unix.MADV_DONTNEED) // advice
	}
}
