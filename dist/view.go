package dist

import "unsafe"

// Number is what travels: plain values without pointers, in the byte order of the machine (all ranks are of one kind).
type Number interface {
	~float32 | ~float64 | ~int32 | ~int64 | ~byte
}

func sizeOf[T Number]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}

// bytesOf views numbers as bytes, without a copy.
func bytesOf[T Number](b []T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), len(b)*sizeOf[T]())
}

// numbersOf views bytes as numbers, without a copy. The bytes are either a view made by bytesOf or aligned to 8 (see
// Lender), so they are aligned for T.
func numbersOf[T Number](b []byte) []T {
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(b)/sizeOf[T]())
}
