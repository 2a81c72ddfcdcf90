package overlap

import "slices"

// result takes the rounds of one size together; times are in seconds.
func result(mib int, transfer, compute, hop []float64) Result {
	r := Result{
		MiB: mib, Bytes: int64(mib) << 20,
		TransferMS: 1e3 * median(transfer), ComputeMS: 1e3 * median(compute), HopMS: 1e3 * median(hop),
		TransferMin: 1e3 * slices.Min(transfer), ComputeMin: 1e3 * slices.Min(compute), HopMin: 1e3 * slices.Min(hop),
	}
	r.Ratio = r.HopMS / max(r.ComputeMS, r.TransferMS)
	r.RatioMin = r.HopMin / max(r.ComputeMin, r.TransferMin)
	r.GBsPerSecond = float64(r.Bytes) / r.TransferMS / 1e6
	r.Hidden = min(max((r.TransferMS+r.ComputeMS-r.HopMS)/min(r.TransferMS, r.ComputeMS), 0), 1)
	return r
}

// median of at least one value; of the two in the middle the mean.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
