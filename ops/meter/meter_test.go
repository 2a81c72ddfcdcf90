package meter

import (
	"sync"
	"testing"
	"time"
)

func TestTheMeterAddsUpAllRanksByPart(t *testing.T) {
	Enable(true)
	defer Enable(false)
	Take()
	const ranks, spans, each = 3, 4, time.Millisecond
	var wg sync.WaitGroup
	for range ranks {
		wg.Go(func() {
			for range spans {
				program, product := Start(Program), Start(Product)
				time.Sleep(each)
				product.End()
				program.End()
			}
		})
	}
	wg.Wait()
	got := Take()
	if least := ranks * spans * each; got[Product] < least || got[Program] < got[Product] {
		t.Errorf("programs %v, products %v within them: want at least %v", got[Program], got[Product], least)
	}
	if got[Attention] != 0 {
		t.Errorf("attention %v, which nobody entered", got[Attention])
	}
	if rest := Take(); rest != (Times{}) {
		t.Errorf("%v are left after all was taken", rest)
	}
}

func TestTheMeterIsOffUntilEnabled(t *testing.T) {
	Take()
	Start(Op).End()
	off := Start(Update)
	Enable(true)
	off.End()
	Enable(false)
	if got := Take(); got != (Times{}) {
		t.Errorf("a meter that was off counted %v", got)
	}
	if n := testing.AllocsPerRun(10, func() { Start(Op).End() }); n != 0 {
		t.Errorf("a span allocates %v times", n)
	}
}
