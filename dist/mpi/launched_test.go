package mpi

import (
	"strings"
	"testing"
)

// The variables are those that the launchers were seen to set.
func TestLaunchedKnowsTheLauncherByItsEnvironment(t *testing.T) {
	batch := []string{"SLURM_JOB_ID=7", "SLURM_NTASKS=4", "SLURM_PROCID=0"} // what sbatch gives its script
	cases := []struct {
		name string
		env  []string
		want Launch
		is   bool
	}{
		{"a shell", nil, Launch{}, false},
		{"a batch script that srun did not start", batch, Launch{}, false},
		{"mpirun", []string{"OMPI_COMM_WORLD_SIZE=4", "OMPI_COMM_WORLD_RANK=3", "PMIX_RANK=3"}, Launch{"Open MPI's mpirun", 3, 4}, true},
		{"mpirun in a batch script", append(batch, "OMPI_COMM_WORLD_SIZE=2", "OMPI_COMM_WORLD_RANK=0"), Launch{"Open MPI's mpirun", 0, 2}, true},
		{"mpiexec", []string{"PMI_RANK=1", "PMI_SIZE=3", "MPI_LOCALNRANKS=3"}, Launch{"MPICH's mpiexec", 1, 3}, true},
		{"mpiexec in a batch script", append(batch, "PMI_RANK=1", "PMI_SIZE=3", "MPI_LOCALNRANKS=3"), Launch{"MPICH's mpiexec", 1, 3}, true},
		{"srun --mpi=pmix", append(batch, "PMIX_RANK=2", "SLURM_STEP_NUM_TASKS=3"), Launch{"srun", 2, 3}, true},
		{"srun --mpi=pmix without a step size", append(batch, "PMIX_RANK=2"), Launch{"srun", 2, 4}, true},
		{"srun --mpi=pmi2", append(batch, "PMI_RANK=2", "PMI_SIZE=3"), Launch{"srun", 2, 3}, true},
		{"mpiexec of an older MPICH", []string{"PMI_RANK=0", "PMI_SIZE=1"}, Launch{"MPICH's mpiexec", 0, 1}, true},
		{"prun", []string{"PMIX_RANK=0"}, Launch{"a PMIx launcher", 0, 0}, true},
		{"torchrun", []string{"RANK=1", "WORLD_SIZE=2", "MASTER_ADDR=10.0.0.1"}, Launch{"torchrun", 1, 2}, true},
		{"a RANK of something else", []string{"RANK=1", "WORLD_SIZE=2"}, Launch{}, false},
		{"a rank that is no number", []string{"OMPI_COMM_WORLD_RANK=x"}, Launch{}, false},
	}
	for _, c := range cases {
		lookup := func(name string) (string, bool) {
			for _, e := range c.env {
				if key, value, _ := strings.Cut(e, "="); key == name {
					return value, true
				}
			}
			return "", false
		}
		if got, is := launched(lookup); got != c.want || is != c.is {
			t.Errorf("%s: got %+v, %v; want %+v, %v", c.name, got, is, c.want, c.is)
		}
	}
}

func TestLibraryIsNamedWithItsVersion(t *testing.T) {
	for text, want := range map[string]string{
		"Open MPI v4.1.4, package: Debian OpenMPI, ident: 4.1.4, repo rev: v4.1.4, May 26, 2022":   "Open MPI 4.1.4",
		"Open MPI v5.0.8, package: Open MPI root@host Distribution":                                "Open MPI 5.0.8",
		"MPICH Version:\t4.0.2\nMPICH Release date:\tThu Apr  7 12:34:45 CDT 2022\nMPICH ABI:\t14": "MPICH 4.0.2",
		"MPICH Version:      4.3.0rc1\nMPICH Release date: today":                                  "MPICH 4.3.0rc1",
		"Some MPI\nof tomorrow": "Some MPI",
	} {
		if got := shortLibrary(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// A binary of one MPI under the launcher of another is alone, and would train W times the same.
func TestAProcessThatMPISeesAloneIsRefused(t *testing.T) {
	for by, remedy := range map[string]string{"MPICH's mpiexec": "-tags mpi,mpich", "srun": "--mpi=pmix", "torchrun": "cannot start from RANK"} {
		err := otherLaunch(Launch{by, 2, 4}, 0, 1, "Open MPI 4.1.4")
		if err == nil || !strings.Contains(err.Error(), "rank 2 of 4, but Open MPI 4.1.4 sees rank 0 of 1") || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%s: got %v", by, err)
		}
	}
	for _, l := range []Launch{{"srun", 1, 2}, {"a PMIx launcher", 1, 0}} {
		if err := otherLaunch(l, 1, 2, "Open MPI 4.1.4"); err != nil {
			t.Errorf("%+v: got %v", l, err)
		}
	}
}
