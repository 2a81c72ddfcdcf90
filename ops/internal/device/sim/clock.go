package sim

import "time"

// moment is virtual time since the devices were made. It is about that of an H100, so that traces look like one; it measures nothing.
type moment = time.Duration

const (
	launchLatency = 2 * time.Microsecond
	copyLatency   = time.Microsecond

	instructionsPerNanosecond = 20_000 // thread-instructions: 132 processors, 128 lanes, 1.2 GHz
	hostBytesPerNanosecond    = 50     // PCIe 5
	peerBytesPerNanosecond    = 400    // NVLink 4
	localBytesPerNanosecond   = 1_500  // read and written
)

func copyTime(bytes, perNanosecond int) moment { return copyLatency + moment(bytes/perNanosecond) }

func launchTime(instructions int64) moment {
	return launchLatency + moment(instructions/instructionsPerNanosecond)
}
