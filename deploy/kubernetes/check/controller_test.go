package check

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/kubeflow/mpi-operator/cmd/mpi-operator/app/options"
	"github.com/kubeflow/mpi-operator/pkg/client/clientset/versioned/fake"
	"github.com/kubeflow/mpi-operator/pkg/client/informers/externalversions"
	"github.com/kubeflow/mpi-operator/pkg/controller"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	kubefake "k8s.io/client-go/kubernetes/fake"
	schedfake "sigs.k8s.io/scheduler-plugins/pkg/generated/clientset/versioned/fake"
	volfake "volcano.sh/apis/pkg/client/clientset/versioned/fake"
)

// patience is how long the controller may take; stillness how long nothing must happen to be believed.
const (
	patience  = 30 * time.Second
	stillness = time.Second
)

// cluster is the operator's own controller at work on an API server without kubelets.
type cluster struct {
	t      *testing.T
	ctx    context.Context
	client kubernetes.Interface
}

func startCluster(t *testing.T) *cluster {
	t.Helper()
	job, err := parse(manifest(t))
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	kube, mpi := kubefake.NewSimpleClientset(), fake.NewSimpleClientset(job)
	kubeInformers := informers.NewSharedInformerFactory(kube, 0)
	mpiInformers := externalversions.NewSharedInformerFactory(mpi, 0)
	// The rates must not be left out: with zero the controller never gets a turn.
	rates := &options.ServerOption{ControllerRateLimit: 100, ControllerBurst: 100}
	core := kubeInformers.Core().V1()
	c, err := controller.NewMPIJobController(ctx, kube, mpi, volfake.NewSimpleClientset(), schedfake.NewSimpleClientset(),
		core.ConfigMaps(), core.Secrets(), core.Services(), kubeInformers.Batch().V1().Jobs(), core.Pods(),
		kubeInformers.Scheduling().V1().PriorityClasses(), mpiInformers.Kubeflow().V2beta1().MPIJobs(), rates)
	if err != nil {
		t.Fatal(err)
	}
	kubeInformers.Start(ctx.Done())
	mpiInformers.Start(ctx.Done())
	ended := make(chan error, 1)
	go func() { ended <- c.Run(1, ctx.Done()) }()
	t.Cleanup(func() {
		if err := <-ended; err != nil {
			t.Errorf("the controller ended with %v", err)
		}
	})
	return &cluster{t, ctx, kube}
}

func (c *cluster) pods() []corev1.Pod {
	list, err := c.client.CoreV1().Pods("default").List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

func (c *cluster) launchers() []batchv1.Job {
	list, err := c.client.BatchV1().Jobs("default").List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return list.Items
}

func (c *cluster) await(what string, holds func() bool) {
	c.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if holds() {
			return
		}
	}
	c.t.Fatalf("%s: not within %v", what, patience)
}

// ready plays kubelet: the pod runs, and answers its probe.
func (c *cluster) ready(pod corev1.Pod) {
	pod.ResourceVersion = "2"
	pod.Status.Phase = corev1.PodRunning
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	if _, err := c.client.CoreV1().Pods("default").UpdateStatus(c.ctx, &pod, metav1.UpdateOptions{}); err != nil {
		c.t.Fatal(err)
	}
}

func TestTheControllerStartsFourWorkersAndThenTheLauncher(t *testing.T) {
	c := startCluster(t)
	c.await("four workers", func() bool { return len(c.pods()) == 4 })
	workers := c.pods()
	for _, pod := range workers[:3] {
		c.ready(pod)
	}
	time.Sleep(stillness)
	if n := len(c.launchers()); n != 0 {
		t.Fatalf("%d launchers while a worker is not ready", n)
	}
	c.ready(workers[3])
	c.await("a launcher", func() bool { return len(c.launchers()) == 1 })
	launcher := c.launchers()[0]
	if got := launcher.Spec.BackoffLimit; got == nil || *got != 20 {
		t.Errorf("backoff limit %v, want the manifest's 20", got)
	}
	c.checkHostfile()
}

// checkHostfile wants a line a worker in the file that mpirun.sh reads.
func (c *cluster) checkHostfile() {
	c.t.Helper()
	maps, err := c.client.CoreV1().ConfigMaps("default").List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	if len(maps.Items) != 1 {
		c.t.Fatalf("%d config maps, want one", len(maps.Items))
	}
	hostfile := maps.Items[0].Data["hostfile"]
	if got := strings.Count(hostfile, "ringgrad-worker-"); got != 4 || !strings.Contains(hostfile, "slots=1\n") {
		c.t.Errorf("hostfile %q does not name four workers of one slot", hostfile)
	}
}
