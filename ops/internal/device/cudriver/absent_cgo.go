//go:build ringcuda && !cgo

package cudriver

import "github.com/ringgrad/ringgrad/ops/internal/device"

// Devices are none without cgo.
func Devices() ([]device.Device, Report) {
	return nil, Report{Why: "built with the tag ringcuda but without cgo, which it needs: set CGO_ENABLED=1"}
}
