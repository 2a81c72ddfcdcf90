package cluster_test

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/trainer/estimate/internal/cluster"
)

// pair is two ranks on hosts of their own.
func pair(n cluster.Network) cluster.Network {
	n.Hosts, n.HostOf = 2, func(rank int) int { return rank }
	return n
}

func check(t *testing.T, what string, r cluster.Result, want float64) {
	t.Helper()
	if r.Stuck || math.Abs(r.Seconds-want) > 1e-9 {
		t.Errorf("%s: %v s, stuck %v; want %v s", what, r.Seconds, r.Stuck, want)
	}
}

func TestRanksOfAHostShareItsProcessor(t *testing.T) {
	one := cluster.Network{Hosts: 1, HostOf: func(int) int { return 0 }}
	// Both run at half speed for 2 s, then the longer one alone for 2 s.
	check(t, "two ranks", cluster.Run(one, nil, [][]cluster.Op{{cluster.Compute(1)}, {cluster.Compute(3)}}), 4)
	check(t, "two hosts", cluster.Run(pair(cluster.Network{}), nil, [][]cluster.Op{{cluster.Compute(1)}, {cluster.Compute(3)}}), 3)
	// The second rank joins when the first message of its neighbour comes: 1 s, then 2+1 s together.
	messages := []cluster.Message{{From: 0, To: 1, Bytes: 1 << 20}}
	check(t, "a message within a host is free", cluster.Run(one, messages, [][]cluster.Op{
		{cluster.Compute(1), cluster.Send(0), cluster.Compute(2)}, {cluster.Receive(0), cluster.Await(0), cluster.Compute(1)},
	}), 4)
}

func TestMessagesOverlapWithWork(t *testing.T) {
	n := pair(cluster.Network{ByteSeconds: 1, Latency: 0.5})
	messages := []cluster.Message{{From: 0, To: 1, Bytes: 10}, {From: 1, To: 0, Bytes: 10}}
	exchange := func(work float64) [][]cluster.Op {
		return [][]cluster.Op{
			{cluster.Send(0), cluster.Receive(1), cluster.Compute(work), cluster.Await(1)},
			{cluster.Send(1), cluster.Receive(0), cluster.Compute(work), cluster.Await(0)},
		}
	}
	check(t, "short work", cluster.Run(n, messages, exchange(3)), 10.5)
	check(t, "long work", cluster.Run(n, messages, exchange(12)), 12)
	// Copies of 2·10 bytes take 5 s of each processor.
	n.CopySeconds = 0.25
	check(t, "copies take processor time", cluster.Run(n, messages, exchange(12)), 17)
	check(t, "and hide behind the link", cluster.Run(n, messages, exchange(1)), 10.5)
}

func TestALinkServesOneMessageAfterTheOther(t *testing.T) {
	n := cluster.Network{Hosts: 3, HostOf: func(rank int) int { return rank }, ByteSeconds: 1}
	to := []cluster.Message{{From: 0, To: 2, Bytes: 3}, {From: 1, To: 2, Bytes: 4}}
	check(t, "two senders share the receiver's link", cluster.Run(n, to, [][]cluster.Op{
		{cluster.Send(0)}, {cluster.Send(1)}, {cluster.Receive(0), cluster.Receive(1), cluster.Await(0), cluster.Await(1)},
	}), 7)
	from := []cluster.Message{{From: 0, To: 1, Bytes: 3}, {From: 0, To: 2, Bytes: 4}}
	check(t, "and two receivers the sender's", cluster.Run(n, from, [][]cluster.Op{
		{cluster.Send(0), cluster.Send(1)}, {cluster.Receive(0), cluster.Await(0)}, {cluster.Receive(1), cluster.Await(1)},
	}), 7)
}

func TestAMessageBeginsWhenItsReceiverWaits(t *testing.T) {
	n := pair(cluster.Network{ByteSeconds: 1})
	check(t, "late receiver", cluster.Run(n, []cluster.Message{{From: 0, To: 1, Bytes: 2}}, [][]cluster.Op{
		{cluster.Send(0)}, {cluster.Compute(5), cluster.Receive(0), cluster.Await(0)},
	}), 7)
}

func TestWrongProgramsAreSaidToBeStuck(t *testing.T) {
	r := cluster.Run(pair(cluster.Network{}), []cluster.Message{{From: 0, To: 1}}, [][]cluster.Op{nil, {cluster.Receive(0), cluster.Await(0)}})
	if !r.Stuck {
		t.Error("a rank that waits for ever is not stuck")
	}
}
