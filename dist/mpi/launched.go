package mpi

import (
	"os"
	"strconv"
)

// Launch says who started this process, and as which one of how many.
type Launch struct {
	By   string // "Open MPI's mpirun", "MPICH's mpiexec", "srun", "torchrun" or "a PMIx launcher"
	Rank int
	Size int // 0 where the environment does not say
}

// launchers in the order in which they are asked: mpirun and mpiexec leave the variables of the batch system that they run in. What srun did
// not start has SLURM_NTASKS in a batch script too, but neither PMIX_RANK nor PMI_RANK.
var launchers = []struct {
	by    string
	rank  string
	sizes []string // the first that is set counts
	also  string   // must be set as well, if not empty
}{
	{"Open MPI's mpirun", "OMPI_COMM_WORLD_RANK", []string{"OMPI_COMM_WORLD_SIZE"}, ""},
	{"MPICH's mpiexec", "PMI_RANK", []string{"PMI_SIZE"}, "MPI_LOCALNRANKS"},
	{"srun", "PMIX_RANK", []string{"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}, "SLURM_JOB_ID"},
	{"srun", "PMI_RANK", []string{"PMI_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}, "SLURM_JOB_ID"},
	{"MPICH's mpiexec", "PMI_RANK", []string{"PMI_SIZE"}, ""},
	{"a PMIx launcher", "PMIX_RANK", nil, ""},
	{"torchrun", "RANK", []string{"WORLD_SIZE"}, "MASTER_ADDR"},
}

// Launched tells from the environment alone whether a launcher started this process as one of several. MPI itself cannot be started from what
// torchrun gives (a rank and an address of its own store): Start then says so.
func Launched() (Launch, bool) { return launched(os.LookupEnv) }

func launched(lookup func(string) (string, bool)) (Launch, bool) {
	number := func(name string) (int, bool) {
		text, _ := lookup(name)
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= 0
	}
	for _, l := range launchers {
		rank, ok := number(l.rank)
		if !ok {
			continue
		}
		if _, set := lookup(l.also); l.also != "" && !set {
			continue
		}
		launch := Launch{By: l.by, Rank: rank}
		for _, name := range l.sizes {
			if n, ok := number(name); ok {
				launch.Size = n
				break
			}
		}
		return launch, true
	}
	return Launch{}, false
}
