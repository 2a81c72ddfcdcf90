//go:build ringcuda && cgo

package nccl

import "encoding/binary"

// First byte of what travels under the tag of a message on the CPU engine.
const (
	whole  = 0 // the message itself follows
	header = 1 // a header does: the message comes by NCCL
)

// Tags of our own, below the highest one of the CPU engine.
const (
	answerTag   = iota // what became of a header
	doneTag            // the id of a message that has arrived
	farewellTag        // nothing is sent under it: a receive that fails when the peer leaves or the job is aborted
	ownTags
)

const headerBytes = 1 + 8 + 8

func writeHeader(size int, id uint64) []byte {
	b := binary.LittleEndian.AppendUint64([]byte{header}, uint64(size))
	return binary.LittleEndian.AppendUint64(b, id)
}

func readHeader(b []byte) (size int, id uint64) {
	return int(binary.LittleEndian.Uint64(b[1:])), binary.LittleEndian.Uint64(b[9:])
}

// answer is the receiver's to a header.
type answer struct {
	id      uint64
	granted bool
	wanted  int      // size that the receiver wants
	fresh   bool     // the communicator is new: make it by unique
	unique  uniqueID //
}

const answerBytes = 8 + 1 + 8 + 1 + len(uniqueID{})

func (a answer) write() []byte {
	b := binary.LittleEndian.AppendUint64(nil, a.id)
	b = append(b, flag(a.granted), flag(a.fresh))
	b = binary.LittleEndian.AppendUint64(b, uint64(a.wanted))
	return append(b, a.unique[:]...)
}

func readAnswer(b []byte) answer {
	a := answer{id: binary.LittleEndian.Uint64(b), granted: b[8] != 0, fresh: b[9] != 0, wanted: int(binary.LittleEndian.Uint64(b[10:]))}
	copy(a.unique[:], b[18:])
	return a
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}
