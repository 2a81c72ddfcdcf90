package mpi

import (
	"fmt"
	"regexp"
	"strings"
)

// version finds the number in what MPI_Get_library_version says: "Open MPI v4.1.4, package: …", "MPICH Version:\t4.0.2\nMPICH …".
var version = regexp.MustCompile(`^([A-Za-z][A-Za-z() -]*?)(?: Version:)?\s+v?(\d[\w.-]*)`)

// shortLibrary is "Open MPI 4.1.4" or "MPICH 4.0.2"; of a library that it does not know, the first line.
func shortLibrary(text string) string {
	if m := version.FindStringSubmatch(text); m != nil {
		return m[1] + " " + m[2]
	}
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	return first
}

// otherLaunch is the error of a process that MPI sees as another one than its launcher does, most often as the only one: a binary of one MPI
// under the launcher of the other, or a launcher that is none of MPI's.
func otherLaunch(l Launch, rank, size int, library string) error {
	if l.Rank == rank && (l.Size == size || l.Size == 0) {
		return nil
	}
	of := ""
	if l.Size > 0 {
		of = fmt.Sprintf(" of %d", l.Size)
	}
	remedy := "build for the MPI of the launcher (-tags mpi is Open MPI, -tags mpi,mpich is MPICH), or take the launcher of " + library
	switch l.By {
	case "srun":
		remedy = "take srun --mpi=pmix (srun --mpi=list shows what there is), or mpirun inside the allocation"
	case "torchrun":
		remedy = "MPI cannot start from RANK and WORLD_SIZE: take mpirun or srun --mpi=pmix"
	}
	return fmt.Errorf("mpi: %s started this process as rank %d%s, but %s sees rank %d of %d: %s", l.By, l.Rank, of, library, rank, size, remedy)
}
