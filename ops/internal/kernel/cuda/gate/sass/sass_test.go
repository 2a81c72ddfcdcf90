package sass

import "testing"

// listing is of two functions. The first has a loop over tiles that copies (0x30), waits in an inner loop (0x40 to 0x50), multiplies, asks
// for every pair of a partial tile (0x90 to 0xb0, jumped over from 0x80), and has an unlikely path behind its end (0x110).
const listing = `
	.headerflags	@"EF_CUDA_SM90"
//--------------------- .text.forward --------------------------
	.section	.text.forward,"ax",@progbits
	.align	128
        .global         forward
forward:
.text.forward:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/                   MUFU.RCP R0, R5 ;
        /*0020*/              @!P0 EXIT ;
.L_x_1:
        /*0030*/                   LDGSTS.E.BYPASS.128 [R4], [R6.64] ;
.L_x_2:
        /*0040*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR7], R4 ;
        /*0050*/              @!P0 BRA ` + "`(.L_x_2)" + ` ;
        /*0060*/                   LDSM.16.M88.4 R8, [R2] ;
        /*0070*/                   HMMA.16816.F32.BF16 R12, R8, R10, R12 ;
        /*0080*/               @P1 BRA ` + "`(.L_x_3)" + ` ;
        /*0090*/                   ISETP.GE.AND P2, PT, R3, R7, PT ;
        /*00a0*/                   FSEL R12, R12, -INF , P2 ;
        /*00b0*/                   FSEL R13, R13, -INF , P2 ;
.L_x_3:
        /*00c0*/                   MUFU.EX2 R12, R12 ;
        /*00d0*/                   BRA.DIV UR4, ` + "`(.L_x_5)" + ` ;
        /*00e0*/                   HMMA.16816.F32.BF16 R12, R8, R10, R12 ;
        /*00f0*/               @P3 BRA ` + "`(.L_x_1)" + ` ;
        /*0100*/                   EXIT ;
.L_x_5:
        /*0110*/                   SHFL.BFLY PT, R5, R8, 0x1, 0x1f ;
        /*0120*/                   BRA ` + "`(.L_x_3)" + ` ;
	.section	.text.wide,"ax",@progbits
.text.wide:
.L_x_9:
        /*0000*/                   HGMMA.64x128x16.F32.BF16 R24, gdesc[UR28], RZ, !UPT ;
.L_x_8:
        /*0010*/                   HGMMA.64x64x16.F32.BF16 R88, R168, gdesc[UR20].tnspB, R88, gsb0 ;
        /*0020*/                   STL.64 [R1+0x8], R2 ;
        /*0030*/                   UIADD3 UR30, UP0, UR11, 0x4000, URZ ;
        /*0040*/              @UP0 BRA ` + "`(.L_x_8)" + ` ;
        /*0050*/               @P0 BRA ` + "`(.L_x_9)" + ` ;
        /*0060*/                   EXIT ;
        /*0070*/                   NOP;
`

func parsed(t *testing.T) []Function {
	t.Helper()
	functions, err := Parse(listing)
	if err != nil {
		t.Fatal(err)
	}
	if len(functions) != 2 || functions[0].Name != "forward" || functions[1].Name != "wide" {
		t.Fatalf("functions %v, want forward and wide", functions)
	}
	return functions
}

func TestParseReadsInstructionsAndTargets(t *testing.T) {
	code := parsed(t)[0].Code
	if len(code) != 19 {
		t.Fatalf("%d instructions, want 19", len(code))
	}
	for _, want := range []Instruction{
		{0x20, "!P0", "EXIT", "", -1},
		{0x30, "", "LDGSTS.E.BYPASS.128", "[R4], [R6.64]", -1},
		{0x50, "!P0", "BRA", "`(.L_x_2)", 0x40},
		{0xd0, "", "BRA.DIV", "UR4, `(.L_x_5)", 0x110},
	} {
		if got := code[want.Address/16]; got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

func TestParseRefusesWhatIsNoListing(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          "nvdisasm fatal: no such file",
		"a missing label":  "\t.section\t.text.f,\"ax\"\n        /*0000*/  BRA `(.L_x_1) ;\n",
		"a branch nowhere": "\t.section\t.text.f,\"ax\"\n        /*0000*/  BRA 0x10 ;\n",
	} {
		if functions, err := Parse(text); err == nil {
			t.Errorf("%s: parsed as %v", name, functions)
		}
	}
}

func TestMixCountsWhatInstructionsMove(t *testing.T) {
	wide := MixOf(parsed(t)[1].Code)
	for class, want := range map[Class]int{HGMMA: 2, LocalStore: 1, Uniform: 1, Branch: 2, HMMA: 0} {
		if wide.Count[class] != want {
			t.Errorf("%d %s, want %d", wide.Count[class], class, want)
		}
	}
	if want := 64*128*16 + 64*64*16; wide.FMA != want {
		t.Errorf("%d multiply-adds, want %d", wide.FMA, want)
	}
	// The first reads A of 64x16 and B of 128x16 elements from shared memory, the second has A in registers and reads B of 64x16.
	if want := 2 * (64*16 + 128*16 + 64*16); wide.OperandBytes != want {
		t.Errorf("%d bytes of operands, want %d", wide.OperandBytes, want)
	}
	forward := MixOf(parsed(t)[0].Code)
	if want := 512 + 512; forward.SharedBytes != want { // a copy of 16 bytes a lane, four matrices of 128 bytes
		t.Errorf("%d bytes of shared memory, want %d", forward.SharedBytes, want)
	}
	if forward.Issued != 19 || wide.Issued != 7 {
		t.Errorf("%d and %d instructions issued, want 19 and 7 (a NOP is none)", forward.Issued, wide.Issued)
	}
}

func TestLaneBytesFollowTheWidth(t *testing.T) {
	for op, want := range map[string]int{
		"LDS": 4, "LDS.64": 8, "LDS.128": 16, "STS.U16": 4, "LDS.U8": 4, "LDSM.16.MT88.4": 16, "LDSM.16.M88.2": 8, "STSM.16.M88": 4,
		"LDGSTS.E.BYPASS.LTC128B.128": 16,
	} {
		if got := (Instruction{Op: op}).laneBytes(); got != want {
			t.Errorf("%s moves %d bytes a lane, want %d", op, got, want)
		}
	}
}

func TestMainLoopSkipsWhatAFullTileSkips(t *testing.T) {
	l, ok := parsed(t)[0].MainLoop(2 * 16 * 8 * 16)
	if !ok || l.First != 0x30 || l.Last != 0xf0 {
		t.Fatalf("loop %#x to %#x, want 0x30 to 0xf0", l.First, l.Last)
	}
	if got := l.Short.Count[ALU]; got != 0 {
		t.Errorf("a full tile has %d ALU instructions, want none", got)
	}
	if got := l.Long.Count[ALU]; got != 3 {
		t.Errorf("a partial tile has %d ALU instructions, want 3", got)
	}
	for name, m := range map[string]Mix{"full": l.Short, "partial": l.Long} {
		if m.Count[HMMA] != 2 || m.Count[AsyncCopy] != 1 || m.Count[Exp2] != 1 || m.Count[Shuffle] != 0 || m.Count[Reciprocal] != 0 {
			t.Errorf("a %s tile has %v", name, m.Count)
		}
	}
	if l.Short.Issued != 10 {
		t.Errorf("a full tile issues %d instructions, want 10", l.Short.Issued)
	}
}

func TestMainLoopRepeatsTheLoopInside(t *testing.T) {
	wide := parsed(t)[1]
	const first, second = 64 * 128 * 16, 64 * 64 * 16
	l, ok := wide.MainLoop(first + 3*second)
	if !ok || l.First != 0x00 || l.Short.Count[HGMMA] != 4 || l.Short.Count[LocalStore] != 3 || l.Short.FMA != first+3*second {
		t.Errorf("loop from %#x with %v, want the one from 0 with three turns of the one inside", l.First, l.Short.Count)
	}
	if l, ok := wide.MainLoop(second); !ok || l.First != 0x10 || l.Short.Count[HGMMA] != 1 {
		t.Errorf("loop from %#x with %v, want the one from 0x10, once", l.First, l.Short.Count)
	}
	if l, ok := wide.MainLoop(first + second/2); ok {
		t.Errorf("loop from %#x with %v, though none has so many multiply-adds", l.First, l.Short.Count)
	}
}

func TestMainLoopNeedsTensorInstructions(t *testing.T) {
	functions, err := Parse("\t.section\t.text.f,\"ax\"\n.L_x_1:\n        /*0000*/  FFMA R0, R1, R2, R0 ;\n        /*0010*/  @P0 BRA `(.L_x_1) ;\n")
	if err != nil {
		t.Fatal(err)
	}
	if l, ok := functions[0].MainLoop(1); ok {
		t.Errorf("found %v", l)
	}
}
