//go:build !ringcuda

package cudriver

import "github.com/ringgrad/ringgrad/ops/internal/device"

// Devices are none without the tag ringcuda.
func Devices() ([]device.Device, Report) {
	return nil, Report{Why: "built without the tag ringcuda"}
}
