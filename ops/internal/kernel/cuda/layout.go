package cuda

import (
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// The arguments of kernels, as kernels/args.h has them, which explains them. Padding is written out.

type scoreArgs struct {
	span, qpos, kpos, qword, kword, slope device.Ptr
	layers                                int32
	threshold                             uint32
	keep, scale, softcap, inner, natural  float32
	alibi                                 int32
}

type forwardArgs struct {
	q, k, v, o, m, l, start, tile device.Ptr
	score                         scoreArgs
	sp, np, heads, group, first   int32
	_                             int32
}

type backwardArgs struct {
	q, k, v, dO, high, low, delta, dq, dk, dv, start, tile, turn, turns device.Ptr
	score                                                               scoreArgs
	sp, np, heads, group, fresh, ordered                                int32
}

// carefulArgs is what careful kernels take besides the fast ones'.
type carefulArgs[A any] struct {
	call A
	dp   int32
	_    int32
}

type strided struct{ batch, head, row int64 }

type packArgs struct {
	from, to, flag                   device.Ptr
	stride                           strided
	rows, sp, dim, dp, heads, halves int32
}

type unpackArgs struct {
	from, to                 device.Ptr
	stride                   strided
	rows, sp, dim, dp, heads int32
	factor                   float32
}

type finishArgs struct {
	o, m, l, out, high, low, sink device.Ptr
	keep                          float32
	sp, dp                        int32
	_                             int32
}

type deltaArgs struct {
	out, dO, delta device.Ptr
	sp, dp         int32
}

type mergeArgs struct {
	o, m, l, o2, m2, l2 device.Ptr
	sp, dp              int32
}

type addArgs struct {
	to, from device.Ptr
	n        int64
}

type wordsArgs struct {
	out, key, position device.Ptr
	n, keys            int32
}

// bytesOf is a kernel's argument as its launch wants it.
func bytesOf[T any](args *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(args)), unsafe.Sizeof(*args))
}

// wordsOf is memory as bytes.
func rawBytes[T any](x []T) []byte {
	if len(x) == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(&x[0])), len(x)*int(unsafe.Sizeof(x[0])))
}
