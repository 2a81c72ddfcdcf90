package cuda

import "github.com/ringgrad/ringgrad/ops/internal/device"

// Preferred is the family that Best picks on a device for 16-bit types, where the head dim does not rule it out.
func Preferred(i device.Info) Family {
	if i.Major == 9 && i.Minor == 0 && len(geometries[WGMMA]) > 0 {
		return WGMMA
	}
	return MMA
}
