package disttest

import (
	"bytes"
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
)

var transfers = []testCase{
	{"messages of a tag arrive in order", 1, inOrder},
	{"messages of one tag overtake those of another", 1, overtaking},
	{"empty messages travel", 1, emptyMessages},
	{"a rank sends to itself", 1, selfSend},
	{"big messages", 1, bigMessages},
	{"many outstanding", 1, manyOutstanding},
	{"waiting again gives the same", 1, waitTwice},
	{"lent memory arrives", 1, lending},
}

// inOrder sends messages of growing length to everybody; only the right order fits the lengths.
func inOrder(ctx context.Context, e dist.Engine) error {
	const count = 8
	var hs []dist.Handle
	got := map[[2]int][]byte{}
	for peer := range e.Size() {
		for i := range count {
			b := make([]byte, 5*i)
			got[[2]int{peer, i}] = b
			hs = append(hs, e.Irecv(b, peer, 3))
		}
	}
	for i := range count {
		for peer := range e.Size() {
			hs = append(hs, e.Isend(message(5*i, e.Rank(), peer, i), peer, 3))
		}
	}
	if err := waitAll(ctx, hs...); err != nil {
		return err
	}
	for k, b := range got {
		if err := same(fmt.Sprintf("message %d from rank %d", k[1], k[0]), b, message(5*k[1], k[0], e.Rank(), k[1])); err != nil {
			return err
		}
	}
	return nil
}

// overtaking waits for the message that was sent last first.
func overtaking(ctx context.Context, e dist.Engine) error {
	const tags = 5
	next, previous := (e.Rank()+1)%e.Size(), (e.Rank()+e.Size()-1)%e.Size()
	var sends []dist.Handle
	for tag := range tags {
		sends = append(sends, e.Isend(message(64, e.Rank(), tag), next, tag))
	}
	for tag := tags - 1; tag >= 0; tag-- {
		b := make([]byte, 64)
		if err := e.Irecv(b, previous, tag).Wait(ctx); err != nil {
			return err
		}
		if err := same(fmt.Sprintf("tag %d", tag), b, message(64, previous, tag)); err != nil {
			return err
		}
	}
	return waitAll(ctx, sends...)
}

func emptyMessages(ctx context.Context, e dist.Engine) error {
	next, previous := (e.Rank()+1)%e.Size(), (e.Rank()+e.Size()-1)%e.Size()
	for _, b := range [][]byte{nil, {}} {
		if err := waitAll(ctx, e.Irecv(b, previous, 1), e.Isend(b, next, 1)); err != nil {
			return err
		}
	}
	return nil
}

func selfSend(ctx context.Context, e dist.Engine) error {
	b := make([]byte, 100)
	if err := waitAll(ctx, e.Isend(message(100, e.Rank()), e.Rank(), 7), e.Irecv(b, e.Rank(), 7)); err != nil {
		return err
	}
	return same("own message", b, message(100, e.Rank()))
}

// bigMessages are beyond what transports buffer, and of odd length.
func bigMessages(ctx context.Context, e dist.Engine) error {
	const n = 3<<19 + 1
	next, previous := (e.Rank()+1)%e.Size(), (e.Rank()+e.Size()-1)%e.Size()
	b := make([]byte, n)
	if err := waitAll(ctx, e.Irecv(b, previous, 2), e.Isend(bigMessage(n, e.Rank()), next, 2)); err != nil {
		return err
	}
	if !bytes.Equal(b, bigMessage(n, previous)) {
		return fmt.Errorf("%d bytes from rank %d are not what it sent", n, previous)
	}
	return nil
}

// bigMessage repeats a small one, of a length that divides nothing.
func bigMessage(n, rank int) []byte {
	small := message(4099, rank)
	return bytes.Repeat(small, n/len(small)+1)[:n]
}

// manyOutstanding starts all before it waits for one, and waits in another order.
func manyOutstanding(ctx context.Context, e dist.Engine) error {
	const count = 300
	next, previous := (e.Rank()+1)%e.Size(), (e.Rank()+e.Size()-1)%e.Size()
	hs, got := make([]dist.Handle, 0, 2*count), make([][]byte, count)
	for i := range count {
		got[i] = make([]byte, 16)
		hs = append(hs, e.Isend(message(16, e.Rank(), i), next, i%7), e.Irecv(got[i], previous, i%7))
	}
	for i := range hs {
		if err := hs[(i*7+3)%len(hs)].Wait(ctx); err != nil {
			return err
		}
	}
	for i, b := range got {
		if err := same(fmt.Sprintf("message %d", i), b, message(16, previous, i)); err != nil {
			return err
		}
	}
	return nil
}

func waitTwice(ctx context.Context, e dist.Engine) error {
	next, previous := (e.Rank()+1)%e.Size(), (e.Rank()+e.Size()-1)%e.Size()
	b := make([]byte, 3)
	hs := []dist.Handle{e.Irecv(b, previous, 1), e.Isend(message(3, e.Rank()), next, 1)}
	if err := waitAll(ctx, append(hs, hs...)...); err != nil {
		return err
	}
	return same("message", b, message(3, previous))
}

// lending mixes the two ways to send with the two ways to receive; engines that do not lend have nothing to show.
func lending(ctx context.Context, e dist.Engine) error {
	lender, ok := e.(dist.Lender)
	if !ok {
		return nil
	}
	next, previous := (e.Rank()+1)%e.Size(), (e.Rank()+e.Size()-1)%e.Size()
	b := make([]byte, 40)
	first, second := lender.Borrow(40, previous, 0), lender.Borrow(40, previous, 0)
	hs := []dist.Handle{first, second, e.Irecv(b, previous, 0)}
	hs = append(hs, lender.Lend(message(40, e.Rank(), 0), next, 0), e.Isend(message(40, e.Rank(), 1), next, 0), lender.Lend(message(40, e.Rank(), 2), next, 0))
	if err := waitAll(ctx, hs...); err != nil {
		return err
	}
	for i, got := range [][]byte{first.Bytes(), second.Bytes(), b} {
		if err := same(fmt.Sprintf("message %d", i), got, message(40, previous, i)); err != nil {
			return err
		}
	}
	return nil
}
