package check

import (
	"os"
	"strings"
	"testing"

	kubeflow "github.com/kubeflow/mpi-operator/pkg/apis/kubeflow/v2beta1"
	"github.com/kubeflow/mpi-operator/pkg/apis/kubeflow/validation"
	"sigs.k8s.io/yaml"
)

// manifest is the file as it is.
func manifest(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../mpijob.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// parse decodes as the API server does with strict validation, and fills in what the operator would.
func parse(text string) (*kubeflow.MPIJob, error) {
	job := &kubeflow.MPIJob{}
	if err := yaml.UnmarshalStrict([]byte(text), job); err != nil {
		return nil, err
	}
	job.Namespace = "default"
	job.UID = "ringgrad-uid"
	kubeflow.SetDefaults_MPIJob(job)
	return job, nil
}

func TestTheOperatorAcceptsTheManifest(t *testing.T) {
	job, err := parse(manifest(t))
	if err != nil {
		t.Fatal(err)
	}
	if errs := validation.ValidateMPIJob(job); len(errs) > 0 {
		t.Error(errs)
	}
}

func TestATypoIsRefused(t *testing.T) {
	for _, change := range [][2]string{
		{"slotsPerWorker:", "slotsPerWorkers:"},
		{"backoffLimit:", "backofLimit:"},
		{"readinessProbe:", "readynessProbe:"},
	} {
		text := strings.Replace(manifest(t), change[0], change[1], 1)
		if text == manifest(t) {
			t.Fatalf("the manifest has no %q", change[0])
		}
		if _, err := parse(text); err == nil {
			t.Errorf("%q in place of %q was not noticed", change[1], change[0])
		}
	}
}

func TestAWrongValueIsRefused(t *testing.T) {
	for _, change := range [][2]string{
		{"mpiImplementation: OpenMPI", "mpiImplementation: NoMPI"},
		{"cleanPodPolicy: Running", "cleanPodPolicy: Sometimes"},
		{"restartPolicy: OnFailure", "restartPolicy: Maybe"},
		{"replicas: 1", "replicas: 2"},
	} {
		text := strings.Replace(manifest(t), change[0], change[1], 1)
		if text == manifest(t) {
			t.Fatalf("the manifest has no %q", change[0])
		}
		job, err := parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if len(validation.ValidateMPIJob(job)) == 0 {
			t.Errorf("%q was not noticed", change[1])
		}
	}
}

func TestTheLauncherRunsMpirunOnTheOperatorsHostfileAndResumes(t *testing.T) {
	job, err := parse(manifest(t))
	if err != nil {
		t.Fatal(err)
	}
	launcher := job.Spec.MPIReplicaSpecs[kubeflow.MPIReplicaTypeLauncher].Template.Spec
	words := append(launcher.Containers[0].Command, launcher.Containers[0].Args...)
	line := strings.Join(words, " ")
	for _, want := range []string{"/deploy/mpirun.sh /etc/mpi/hostfile ", "/train --config ", "resume_from_checkpoint=auto"} {
		if !strings.Contains(line, want) {
			t.Errorf("the launcher's command %q lacks %q", line, want)
		}
	}
	if _, err := os.Stat("../../mpirun.sh"); err != nil {
		t.Error(err)
	}
	if got := *launcher.TerminationGracePeriodSeconds; got <= 120 {
		t.Errorf("the pod is killed after %d s, before the ranks' 120 s for a checkpoint are over", got)
	}
}
